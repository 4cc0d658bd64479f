package mutants

// deployMutants break what the chart makes of its values: ports, probes, variables, what survives a drained node, and backups.
func deployMutants() []Mutant {
	const templates = chartDir + "/templates/"
	rendered := func(name string) Test { return goTest("tools/chartcheck", "./chart", name) }
	secrets := goTest("dev", "./e2e", "TestThePostgresOfTheChartIsAsItsSecretsSay")
	return []Mutant{
		{
			Breaks: "the api listens on a port that nobody is told of", By: rendered("TestPortsAreThoseThatProgramsListenOn"),
			Edits: []Edit{{templates + "api-deployment.yaml", "- name: API_PORT\n  value: \"8000\"", "- name: API_PORT\n  value: \"8001\""}},
		},
		{
			Breaks: "the api's metrics are where nobody looks", By: rendered("TestPortsAreThoseThatProgramsListenOn"),
			Edits: []Edit{{templates + "api-deployment.yaml", `name: metrics, containerPort: 9100`, `name: metrics, containerPort: 9101`}},
		},
		{
			Breaks: "a consumer's probes ask a port that there is not", By: rendered("TestPortsAreThoseThatProgramsListenOn"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", `{name: metrics, containerPort: 9101}`, `{name: meters, containerPort: 9101}`}},
		},
		{
			Breaks: "a consumer is not probed", By: rendered("TestPortsAreThoseThatProgramsListenOn"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", ` "probes" "metrics"`, ``}},
		},
		{
			Breaks: "the consumers' budget is about the api's pods", By: rendered("TestWhatSelectsFindsPods"),
			Edits: []Edit{{templates + "poddisruptionbudgets.yaml", `(dict "root" $ "component" $component) | nindent 6`, `(dict "root" $ "component" "api") | nindent 6`}},
		},
		{
			Breaks: "a volume of the user's may have the name of the one for traces", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_additions.tpl", `|admin-token|tracing)$"`, `|admin-token)$"`}},
		},
		{
			Breaks: "a volume of the user's may have the name of one of the receiver's", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_additions.tpl", `{{- $_ := set $own "loadgen" "^(receiver|ids)$" -}}`, ``}},
		},
		{
			Breaks: "e2e: the first install has the chart's Postgres, whatever the run's", By: goTest("deploy/kind/e2e", ".", "TestEveryInstallHasTheRunsPostgres"),
			Edits: []Edit{{"deploy/kind/e2e/scenario_install.go", `append([]string{"install", release, s.chart}, flags(s.postgres())...)`, `[]string{"install", release, s.chart}`}},
		},
		{
			Breaks: "e2e: a step that outlasts the load has shown that it stands load", By: goTest("deploy/kind/e2e", ".", "TestAStepThatOutlastsTheLoadHasShownNothing"),
			Edits: []Edit{{"deploy/kind/e2e/load.go", `return false, final("%s outlasted the load, so it has shown nothing", what)`, `return true, nil`}},
		},
		{
			Breaks: "e2e: a step that outlasted its load is repeated with one that is no longer", By: goTest("deploy/kind/e2e", ".", "TestAStepIsRepeatedWithALongerLoad"),
			Edits: []Edit{{"deploy/kind/e2e/load.go", `		length *= 2
`, ``}},
		},
		{
			Breaks: "e2e: a step that outlasted its load has been shown", By: goTest("deploy/kind/e2e", ".", "TestAStepIsRepeatedWithALongerLoad"),
			Edits: []Edit{{"deploy/kind/e2e/load.go", `if err != nil || over == nil {`, `if err != nil || over != nil {`}},
		},
		{
			Breaks: "a budget may keep every pod where it is", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_exposure.tpl", `{{- if ge $stay (float64 $pods) -}}`, `{{- if gt $stay (float64 $pods) -}}`}},
		},
		{
			Breaks: "a budget's share of the pods is rounded down, unlike Kubernetes does", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_exposure.tpl", `(ceil (divf (mulf $pods`, `(floor (divf (mulf $pods`}},
		},
		{
			Breaks: "connections of work that is done with the ack are not counted", By: suite("validate"),
			Edits: []Edit{{templates + "_numbers.tpl", `(has .Values.consumer.handler (list "sql" "own"))`, `(has .Values.consumer.handler (list "sql"))`}},
		},
		{
			Breaks: "a number that --set has made a text of may be any", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_services.tpl", `(gt (float64 (index . 1)) (float64 (index . 3))) -}}`, `false -}}`}},
		},
		{
			Breaks: "pg_dump is given parameters that it refuses", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", `(dict "root" $ "role" "owner" "libpq" true) | nindent 4`, `(dict "root" $ "role" "owner") | nindent 4`}},
		},
		{
			Breaks: "pg_dump is given a key that everybody can read", By: suite("backup"),
			Edits: []Edit{{templates + "_database.tpl", `defaultMode: 0440`, `defaultMode: 0444`}},
		},
		{
			Breaks: "api.requestTimeout is not passed on", By: suite("api"),
			Edits: []Edit{{templates + "api-deployment.yaml", "- name: REQUEST_TIMEOUT\n  value: {{ .Values.api.requestTimeout | quote }}\n", ``}},
		},
		{
			Breaks: "api.shutdownDelay is counted with, and not passed on", By: suite("api"),
			Edits: []Edit{{templates + "api-deployment.yaml", "- name: SHUTDOWN_DELAY\n  value: {{ .Values.api.shutdownDelay | quote }}\n", ``}},
		},
		{
			Breaks: "api.databaseConnections is counted with, and not passed on", By: suite("api"),
			Edits: []Edit{{templates + "api-deployment.yaml", "- name: DB_MAX_CONNS\n  value: {{ int64 .Values.api.databaseConnections | quote }}\n", ``}},
		},
		{
			Breaks: "log.level is not passed on", By: suite("api"),
			Edits: []Edit{{templates + "_pod.tpl", "- name: LOG_LEVEL\n  value: {{ .root.Values.log.level }}\n", ``}},
		},
		{
			Breaks: "an update takes a pod away before it has another", By: suite("api"),
			Edits: []Edit{{templates + "_pod.tpl", `"maxSurge" "25%" "maxUnavailable" 0`, `"maxSurge" 0 "maxUnavailable" 1`}},
		},
		{
			Breaks: "all pods may be in one zone", By: suite("api"),
			Edits: []Edit{{templates + "_pod.tpl", `{{- if and .spread (not $own) (not $affinity.podAntiAffinity) }}`, `{{- if false }}`}},
		},
		{
			Breaks: "a consumer's visibility timeout is its batch size", By: suite("consumer"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", "- name: VT\n  value: {{ int64 $consumer.visibilityTimeout", "- name: VT\n  value: {{ int64 $consumer.batchSize"}},
		},
		{
			Breaks: "consumer.prefetch is not passed on", By: suite("consumer"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", "- name: PREFETCH\n  value: {{ int64 $consumer.prefetch | quote }}\n", ``}},
		},
		{
			Breaks: "consumer.drainTimeout is counted with, and not passed on", By: suite("consumer"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", "- name: DRAIN_TIMEOUT\n  value: {{ $consumer.drainTimeout | quote }}\n", ``}},
		},
		{
			Breaks: "orders do not say which pod processed them", By: suite("consumer"),
			Edits: []Edit{{templates + "consumer-deployment.yaml", "- name: CONSUMER_ID\n  valueFrom:\n    fieldRef: {fieldPath: metadata.name}\n", ``}},
		},
		{
			Breaks: "a backup goes on after an error", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", "    - -euc\n", "    - -uc\n"}},
		},
		{
			Breaks: "everybody may read a dump", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", "      umask 077\n", ``}},
		},
		{
			Breaks: "the newest dump is removed, and the oldest kept", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", `sort -r | tail`, `sort | tail`}},
		},
		{
			Breaks: "a dump fewer is kept than asked for", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", `tail -n +$((KEEP + 1))`, `tail -n +$KEEP`}},
		},
		{
			Breaks: "a backup that hangs keeps all later ones from starting", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", "      activeDeadlineSeconds: {{ int64 $backup.activeDeadlineSeconds }}\n", ``}},
		},
		{
			Breaks: "a drained node counts as a failed load", By: suite("loadgen"),
			Edits: []Edit{{templates + "loadgen-job.yaml", "    - action: Ignore\n      onPodConditions: [{type: DisruptionTarget, status: \"True\"}]\n", ``}},
		},
		{
			Breaks: "loadgen.concurrency is not passed on", By: suite("loadgen"),
			Edits: []Edit{{templates + "loadgen-job.yaml", "- name: CONCURRENCY\n  value: {{ int64 $loadgen.concurrency | quote }}\n", ``}},
		},
		{
			Breaks: "what pods may call is listed, and not enforced", By: suite("network"),
			Edits: []Edit{{templates + "networkpolicies.yaml", `ternary (list "Ingress" "Egress") (list "Ingress") $egress`, `list "Ingress"`}},
		},
		{
			Breaks: "pods may not ask for addresses", By: suite("network"),
			Edits: []Edit{{templates + "networkpolicies.yaml", "{{- define \"orderflow.egress.database\" -}}\n- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]\n", "{{- define \"orderflow.egress.database\" -}}\n"}},
		},
		{
			Breaks: "a Postgres that recovers is killed", By: suite("postgres"),
			Edits: []Edit{{templates + "postgres-statefulset.yaml", ` || test $? -eq 1"]`, `"]`}},
		},
		{
			Breaks: "a pod that is not ready keeps its node from being drained", By: suite("autoscaling"),
			Edits: []Edit{{templates + "poddisruptionbudgets.yaml", "  unhealthyPodEvictionPolicy: AlwaysAllow\n", ``}},
		},
		{
			Breaks: "pods keep the authority that they verified the Postgres before by", By: suite("consumer"),
			Edits: []Edit{{templates + "_database.tpl", `{{- $seen = append $seen (include "orderflow.postgres.tls" .root | fromYaml).ca -}}`, ``}},
		},
		{
			Breaks: "whoever has a role may connect to the database", By: secrets,
			Edits: []Edit{{templates + "postgres-configmap.yaml", "    revoke all on database :\"database\" from public;\n", ``}},
		},
		{
			Breaks: "the owner of the orders is a superuser", By: secrets,
			Edits: []Edit{{templates + "postgres-configmap.yaml", `alter role :"owner" login createrole`, `alter role :"owner" superuser login createrole`}},
		},
		{
			Breaks: "what is answered 201 is not on disk yet", By: secrets,
			Edits: []Edit{{templates + "_postgresconf.tpl", `synchronous_commit = on`, `synchronous_commit = off`}},
		},
		{
			Breaks: "a page that was half written when the power went stays so", By: secrets,
			Edits: []Edit{{templates + "_postgresconf.tpl", `full_page_writes = on`, `full_page_writes = off`}},
		},
		{
			Breaks: "customers' names stand in the server's log", By: secrets,
			Edits: []Edit{{templates + "_postgresconf.tpl", "log_parameter_max_length = 0\n", ``}},
		},
		{
			Breaks: "passwords stand in the log of a server that logs statements", By: secrets,
			Edits: []Edit{{templates + "postgres-configmap.yaml", "    set log_statement to none;\n", ``}},
		},
		{
			Breaks: "passwords stand in pg_stat_statements, for the role that reads statistics", By: secrets,
			Edits: []Edit{{templates + "postgres-configmap.yaml", "    set pg_stat_statements.track_utility to off;\n", ``}},
		},
		{
			Breaks: "a new certificate waits for the next start of Postgres", By: secrets,
			Edits: []Edit{{templates + "postgres-configmap.yaml", ` /etc/orderflow/tls/tls.crt 2>`, ` 2>`}},
		},
	}
}
