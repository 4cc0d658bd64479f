package mutants

const chartcheck = "tools/chartcheck"

// chartMutants break the chart and the tool that keeps its generated files current.
func chartMutants() []Mutant {
	const templates = chartDir + "/templates/"
	return []Mutant{
		{
			Breaks: "helm test does not ask the receiver", By: suite("receiver"),
			Edits: []Edit{{templates + "test-orders.yaml", `{{- with include "orderflow.receiver.askEnv" . }}{{ . | nindent 0 }}{{ end }}`, ``}},
		},
		{
			Breaks: "everybody may ask the receiver for its account", By: suite("receiver"),
			Edits: []Edit{{templates + "networkpolicies.yaml", `              - {key: app.kubernetes.io/component, operator: In, values: [loadgen, test]}
        {{- with $metricsFrom }}`, `              - {key: app.kubernetes.io/component, operator: Exists}
        {{- with $metricsFrom }}`}},
		},
		{
			Breaks: "nobody notices that dumps cannot be written", By: suite("backup"),
			Edits: []Edit{{templates + "backup.yaml", `command: [test, -w, /backups]`, `command: ["true"]`}},
		},
		{
			Breaks: "what users say of their processes is told to nobody", By: suite("tracing"),
			Edits: []Edit{{templates + "_tracing.tpl", `{{- range $name, $value := .Values.tracing.resourceAttributes -}}`, `{{- range $name, $value := dict -}}`}},
		},
		{
			Breaks: "a receiver is deployed that nobody delivers to", By: suite("receiver"),
			Edits: []Edit{{templates + "_receiver.tpl", `{{- if ne .Values.consumer.handler "webhook" -}}`, `{{- if false -}}`}},
		},
		{
			Breaks: "chartcheck verify never fails", Quick: true, By: goTest(chartcheck, ".", "TestVerifyFailsWhenSomethingIsOutOfDate"),
			Edits: []Edit{{chartcheck + "/main.go", `if verb == "verify" {
		return fmt.Errorf(`, `if verb == "verify" {
		return nil
	}
	if verb == "never" {
		return fmt.Errorf(`}},
		},
		{
			Breaks: "chartcheck verify looks at the schema only", By: goTest(chartcheck, ".", "TestVerifyFailsWhenSomethingIsOutOfDate"),
			Edits: []Edit{{chartcheck + "/main.go", `put(verb, readmePath, readme),`, ``}},
		},
		{
			Breaks: "a value without a description is let pass", By: goTest(chartcheck, ".", "TestVerifyFailsWhenSomethingIsOutOfDate"),
			Edits: []Edit{{chartcheck + "/values/values.go", `if child.Description == "" {`, `if false {`}},
		},
		{
			Breaks: "a handler may take as long as its visibility timeout", Quick: true, By: suite("validate"),
			Edits: []Edit{{templates + "_validate_services.tpl", `{{- else if ge $handler $visibility -}}`, `{{- else if gt $handler $visibility -}}`}},
		},
		{
			Breaks: "a drain may last as long as the grace period", By: suite("validate"),
			Edits: []Edit{{templates + "_validate_services.tpl", `{{- if ge (add (include "orderflow.ms" $consumer.drainTimeout) 5000)`, `{{- if gt (add (include "orderflow.ms" $consumer.drainTimeout) 0)`}},
		},
		{
			Breaks: "problems with the values are found and not said", By: suite("validate"),
			Edits: []Edit{{templates + "_validate.tpl", `{{- if $problems -}}
{{- fail (printf "\n\nThese values do not go together`, `{{- if and $problems false -}}
{{- fail (printf "\n\nThese values do not go together`}},
		},
		{
			Breaks: "a run whose audit failed is tried again", By: suite("loadgen"),
			Edits: []Edit{{templates + "loadgen-job.yaml", `values: [2, 99]}`, `values: [2]}`}},
		},
		{
			Breaks: "helm test sends no orders", By: suite("test"),
			Edits: []Edit{{templates + "test-orders.yaml", `value: {{ int64 .Values.test.orders | quote }}`, `value: "0"`}},
		},
		{
			Breaks: "thresholds of the load generator are not passed on", By: suite("loadgen"),
			Edits: []Edit{{templates + "loadgen-job.yaml", `{{- with $loadgen.thresholds }}`, `{{- if false }}`}},
		},
		{
			Breaks: "everybody reaches Postgres", By: suite("network"),
			Edits: []Edit{{templates + "networkpolicies.yaml", `    - ports: [{port: postgres}]
      from:
        - podSelector:`, `    - ports: [{port: postgres}]
      from:
        - namespaceSelector: {}
        - podSelector:`}},
		},
		{
			Breaks: "the services may write to their root file systems", By: goTest(chartcheck, "./chart", "TestPodsAreHardenedBeyondThat"),
			Edits: []Edit{{chartDir + "/values.yaml", `  # @synonyms containerSecurityContext
  securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
  # Annotations of the Deployment itself`, `  # @synonyms containerSecurityContext
  securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: false, capabilities: {drop: [ALL]}}
  # Annotations of the Deployment itself`}},
		},
		{
			Breaks: "pods may run as root", By: goTest(chartcheck, "./chart", "TestPodsSatisfyPodSecurityRestricted"),
			Edits: []Edit{{chartDir + "/values.yaml", "and `fsGroup` away.\n  # @schema {\"additionalProperties\": true}\n  # @synonyms runAsUser\n  podSecurityContext: {runAsNonRoot: true", "and `fsGroup` away.\n  # @schema {\"additionalProperties\": true}\n  # @synonyms runAsUser\n  podSecurityContext: {runAsNonRoot: false"}},
		},
		{
			Breaks: "generated passwords change with every upgrade", By: suite("secrets"),
			Edits: []Edit{{templates + "_secrets.tpl", `{{- $found := (lookup "v1" "Secret" .root.Release.Namespace .name | default dict).data | default dict -}}`, `{{- $found := dict -}}`}},
		},
		{
			Breaks: "an uninstall takes the passwords of a volume that stays", By: suite("secrets"),
			Edits: []Edit{{templates + "_secrets.tpl", `(dict "helm.sh/resource-policy" "keep")`, `(dict "helm.sh/resource-policy" "delete")`}},
		},
		{
			Breaks: "the services are given the owner's password", By: suite("api"),
			Edits: []Edit{{templates + "api-deployment.yaml", `(dict "root" $ "role" "api")`, `(dict "root" $ "role" "owner")`}},
		},
		{
			Breaks: "liveness asks the database", By: suite("api"),
			Edits: []Edit{{templates + "_pod.tpl", `$alive := dict "httpGet" (dict "path" "/livez"`, `$alive := dict "httpGet" (dict "path" "/readyz"`}},
		},
		{
			Breaks: "a consumer is ready before it has the database", By: suite("consumer"),
			Edits: []Edit{{templates + "_pod.tpl", `$ready := dict "httpGet" (dict "path" "/readyz"`, `$ready := dict "httpGet" (dict "path" "/livez"`}},
		},
		{
			Breaks: "an autoscaler's number is overwritten by each upgrade", By: suite("consumer"),
			Edits: []Edit{{templates + "_numbers.tpl", `replicas: {{ min (max $now`, `replicas: {{ min (max 1`}},
		},
		{
			Breaks: "who may scrape may order", By: suite("network"),
			Edits: []Edit{{templates + "networkpolicies.yaml", `    {{- with $metricsFrom }}
    - ports: [{port: metrics}]`, `    {{- with $metricsFrom }}
    - ports: [{port: metrics}, {port: http}]`}},
		},
		{
			Breaks: "a pod may call any Postgres", By: suite("network"),
			Edits: []Edit{{templates + "networkpolicies.yaml", `- ports: [{port: postgres}]
  to:
    - podSelector:
        matchLabels:
          {{- include "orderflow.selectorLabels" (dict "root" $ "component" "postgres") | nindent 10 }}`, `- ports: [{port: postgres}]`}},
		},
		{
			Breaks: "one answer that is late restarts a consumer", By: suite("consumer"),
			Edits: []Edit{{templates + "_pod.tpl", `(dict "periodSeconds" 10 "timeoutSeconds" 3 "failureThreshold" 3) $alive`, `(dict "periodSeconds" 10 "timeoutSeconds" 3 "failureThreshold" 1) $alive`}},
		},
	}
}
