{{/*
What a schema cannot say, or not so that one knows what to do: values that are
right alone and wrong together. Each problem is a sentence that says what to
change; all of them are told at once. A schema with if and then would say "at
'/api/ingress/hosts': minItems: got 0, want 1", neither under which condition
nor what else would help, and Helm would not come to the sentences after it.
*/}}
{{- define "orderflow.validate" -}}
{{- /*
Not Chart.yaml's kubeVersion: a Helm that was built without link-time flags (go
install) takes v1.20.0 for the version of a cluster that it has not asked.
*/ -}}
{{- $kubernetes := .Capabilities.KubeVersion.Version -}}
{{- if and (semverCompare "<1.27.0-0" $kubernetes) (ne $kubernetes "v1.20.0") -}}
{{- fail (printf "orderflow needs Kubernetes 1.27 or newer, and this cluster is %s." $kubernetes) -}}
{{- end -}}
{{- $problems := include "orderflow.validate.names" . | fromYamlArray -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values have other names in this chart:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- $problems = concat
  (include "orderflow.validate.api" . | fromYamlArray)
  (include "orderflow.validate.consumer" . | fromYamlArray)
  (include "orderflow.validate.autoscaling" . | fromYamlArray)
  (include "orderflow.validate.loadgen" . | fromYamlArray)
  (include "orderflow.validate.rendering" . | fromYamlArray)
  (include "orderflow.validate.database" . | fromYamlArray)
  (include "orderflow.validate.exposure" . | fromYamlArray)
  (include "orderflow.validate.memory" . | fromYamlArray)
  (include "orderflow.validate.ranges" . | fromYamlArray)
  (include "orderflow.validate.metadata" . | fromYamlArray)
  (include "orderflow.validate.volumes" . | fromYamlArray)
  (include "orderflow.validate.env" . | fromYamlArray) -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values do not go together:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{/* Names by which other charts know a value of ours. */}}
{{- define "orderflow.validate.names" -}}
{{- $problems := list -}}
{{- range $name, $instead := .Files.Get "files/instead.json" | fromJson -}}
{{- $at := $.Values -}}
{{- range splitList "." $name -}}
{{- $at = ternary (get ($at | default dict) .) nil (kindIs "map" ($at | default dict)) -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $at) (eq (toString $at) "")) -}}
{{- $problems = append $problems (printf "%s: use %s." $name $instead) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.api" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $request := include "orderflow.ms" $api.requestTimeout | int64 -}}
{{- $drain := include "orderflow.ms" $api.drainTimeout | int64 -}}
{{- $delay := include "orderflow.ms" $api.shutdownDelay | int64 -}}
{{- $grace := mul (include "orderflow.api.grace" .) 1000 -}}
{{- if ge (add $delay $drain) $grace -}}
{{- $problems = append $problems (printf "api.terminationGracePeriodSeconds (%v) must be more than api.shutdownDelay (%s) + api.drainTimeout (%s): raise it, or leave it empty to have it derived." $api.terminationGracePeriodSeconds $api.shutdownDelay $api.drainTimeout) -}}
{{- end -}}
{{- if gt $request $drain -}}
{{- $problems = append $problems (printf "api.requestTimeout (%s) must not be more than api.drainTimeout (%s), or a request under way is cut off at shutdown: lower the first or raise the second." $api.requestTimeout $api.drainTimeout) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.consumer" -}}
{{- $problems := list -}}
{{- $consumer := .Values.consumer -}}
{{- $visibility := mul $consumer.visibilityTimeout 1000 -}}
{{- $handler := div (mul $visibility 8) 10 -}}
{{- if $consumer.handlerTimeout -}}
{{- $handler = include "orderflow.ms" $consumer.handlerTimeout | int64 -}}
{{- if le $handler 0 -}}
{{- $problems = append $problems (printf "consumer.handlerTimeout (%s) must be more than 0: leave it empty for 80 %% of consumer.visibilityTimeout." $consumer.handlerTimeout) -}}
{{- else if ge $handler $visibility -}}
{{- $problems = append $problems (printf "consumer.handlerTimeout (%s) must be less than consumer.visibilityTimeout (%v s): lower the first or raise the second." $consumer.handlerTimeout $consumer.visibilityTimeout) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $consumer.handler "simulate") (ge (include "orderflow.ms" $consumer.simulate.work | int64) $handler) -}}
{{- $problems = append $problems (printf "consumer.simulate.work (%s) must be less than the time of one attempt (%v ms: consumer.handlerTimeout, or 80 %% of consumer.visibilityTimeout), or no order ever completes: lower it or raise consumer.visibilityTimeout." $consumer.simulate.work $handler) -}}
{{- end -}}
{{- if and (eq $consumer.handler "own") (not $consumer.image) -}}
{{- $problems = append $problems "consumer.image is empty, but consumer.handler is own: set it to the image of the program that has your handler (docs/handlers.md)." -}}
{{- end -}}
{{- if and (eq $consumer.handler "sql") (not $consumer.sql.function) -}}
{{- $problems = append $problems "consumer.sql.function is empty, but consumer.handler is sql: set it to the function that does the work of an order, such as shop.fulfil." -}}
{{- else if and (ne $consumer.handler "sql") $consumer.sql.function -}}
{{- $problems = append $problems (printf "consumer.sql.function is set, but consumer.handler is %s: set consumer.handler to sql, or remove consumer.sql.function." $consumer.handler) -}}
{{- end -}}
{{- /* After the drain the consumer writes its last acks, for 5 s at most. */ -}}
{{- if ge (add (include "orderflow.ms" $consumer.drainTimeout) 5000) (mul (include "orderflow.consumer.grace" .) 1000) -}}
{{- $problems = append $problems (printf "consumer.terminationGracePeriodSeconds (%v) must be more than consumer.drainTimeout (%s) + 5 s for the last acks: raise it, or leave it empty to have it derived." $consumer.terminationGracePeriodSeconds $consumer.drainTimeout) -}}
{{- end -}}
{{- $problems = concat $problems (include "orderflow.validate.webhook" (ternary (dict "handler" $consumer.handler "webhook" (merge (include "orderflow.receiver.webhook" . | fromYaml) $consumer.webhook)) $consumer (and .Values.receiver.enabled (eq $consumer.handler "webhook"))) | fromYamlArray) (include "orderflow.validate.receiver" . | fromYamlArray) (include "orderflow.validate.tracing" . | fromYamlArray) -}}
{{- if gt (include "orderflow.ms" $consumer.backoff.base | int64) (include "orderflow.ms" $consumer.backoff.max | int64) -}}
{{- $problems = append $problems (printf "consumer.backoff.base (%s) must not be more than consumer.backoff.max (%s): lower the first or raise the second." $consumer.backoff.base $consumer.backoff.max) -}}
{{- end -}}
{{- if gt (include "orderflow.ms" $consumer.breaker.probeInterval | int64) (include "orderflow.ms" $consumer.breaker.probeMax | int64) -}}
{{- $problems = append $problems (printf "consumer.breaker.probeInterval (%s) must not be more than consumer.breaker.probeMax (%s): lower the first or raise the second." $consumer.breaker.probeInterval $consumer.breaker.probeMax) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.autoscaling" -}}
{{- $problems := list -}}
{{- range $component := list "api" "consumer" -}}
{{- $of := index $.Values $component -}}
{{- $mode := $of.autoscaling.mode -}}
{{- if ne $mode "none" -}}
{{- if not (kindIs "invalid" $of.replicas) -}}
{{- $problems = append $problems (printf "%s.replicas is fixed at %v while %s.autoscaling.mode is %s, which decides the number: leave %s.replicas empty, or set the mode to none." $component $of.replicas $component $mode $component) -}}
{{- end -}}
{{- if gt (int64 $of.autoscaling.minReplicas) (int64 $of.autoscaling.maxReplicas) -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas (%v) must not be more than maxReplicas (%v): lower the first or raise the second." $component $of.autoscaling.minReplicas $of.autoscaling.maxReplicas) -}}
{{- end -}}
{{- end -}}
{{- if eq $mode "hpa" -}}
{{- if lt (int64 $of.autoscaling.minReplicas) 1 -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas must be at least 1 with mode hpa: only keda scales to 0." $component) -}}
{{- end -}}
{{- $hpa := $of.autoscaling.hpa | default dict -}}
{{- $cpu := $of.autoscaling.targetCPU | default $hpa.targetCPU -}}
{{- if not (or $cpu $hpa.metrics) -}}
{{- $problems = append $problems (printf "%s.autoscaling.mode is hpa, but nothing says by what: set %s.autoscaling.hpa.metrics to a metric that follows the work, or, where handlers compute rather than wait, hpa.targetCPU; or use keda." $component $component) -}}
{{- end -}}
{{- if and $cpu (not (($of.resources | default dict).requests | default dict).cpu) -}}
{{- $problems = append $problems (printf "%s.autoscaling.mode is hpa on CPU, but %s.resources.requests.cpu is empty: set the request that the target is a percentage of." $component $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.loadgen" -}}
{{- $problems := list -}}
{{- $loadgen := .Values.loadgen -}}
{{- if $loadgen.enabled -}}
{{- if and $loadgen.stages (or $loadgen.duration $loadgen.rate) -}}
{{- $problems = append $problems "loadgen.stages already says rate and duration: remove loadgen.rate and loadgen.duration, or loadgen.stages." -}}
{{- end -}}
{{- range $key := list "duration" "stages" -}}
{{- $sent := index $loadgen $key -}}
{{- if and $sent (ge (include "orderflow.seconds" $sent | int64) (int64 $loadgen.activeDeadlineSeconds)) -}}
{{- $problems = append $problems (printf "loadgen.activeDeadlineSeconds (%d) must be more than loadgen.%s (%s) takes, or the Job is ended before its audit: raise it." (int64 $loadgen.activeDeadlineSeconds) $key $sent) -}}
{{- end -}}
{{- end -}}
{{- if and $loadgen.apiUrl .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.loadgen) -}}
{{- $problems = append $problems "networkPolicy.egress.enabled is true, but networkPolicy.egress.loadgen is empty, so the load generator could not reach loadgen.apiUrl: allow it there." -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* What the rendering itself shows: whether there is a cluster to look things up in, and where its images come from. */}}
{{- define "orderflow.validate.rendering" -}}
{{- $problems := list -}}
{{- $fullname := include "orderflow.fullname" . -}}
{{- if and .Values.secrets.generate .Release.IsUpgrade (not (lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-api" $fullname))) -}}
{{- range $name := include "orderflow.generatedSecrets" . | fromYamlArray -}}
{{- if not (lookup "v1" "Secret" $.Release.Namespace $name) -}}
{{- $problems = append $problems (printf "this upgrade sees neither the Deployment %s-api nor the Secret %s, so it would draw new passwords over those in use. Rendered without the cluster (helm template, GitOps): set secrets.generate to false, and make the Secrets yourself; the chart's README says which. After a deletion by hand: helm uninstall, and install again." $fullname $name) -}}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $image := .Values.image -}}
{{- if and (eq $image.registry "orderflow.example") (not .Values.global.imageRegistry) (ne $image.pullPolicy "Never") .Release.IsInstall -}}
{{- range (lookup "v1" "Node" "" "").items -}}
{{- if not (hasPrefix "kind://" (.spec.providerID | default "")) -}}
{{- $problems = append $problems (printf "image.registry is orderflow.example, a name that nobody can own, and the node %s is no kind node that `make kind-up` has loaded the images into: `make push IMAGES=…` and set image.registry and image.repository, or, where the nodes have the images already, set image.pullPolicy to Never." .metadata.name) -}}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.database" -}}
{{- $problems := list -}}
{{- $external := .Values.externalDatabase -}}
{{- $roles := .Values.database.roles -}}
{{- if .Values.postgres.enabled -}}
{{- if or $external.host $external.existingSecret $external.caSecret $external.hostKey $external.uriKey $external.clientCertificateSecret -}}
{{- $problems = append $problems "externalDatabase is set while postgres.enabled is true: set postgres.enabled to false to use it, or remove externalDatabase." -}}
{{- end -}}
{{- $memory := (.Values.postgres.resources | default dict) -}}
{{- $memory = ($memory.limits | default dict).memory | default ($memory.requests | default dict).memory -}}
{{- if not $memory -}}
{{- $problems = append $problems "postgres.resources has no memory limit and no memory request, and the server's settings are sized from it: set postgres.resources.limits.memory." -}}
{{- else if lt (include "orderflow.postgres.memory" . | int64) 128 -}}
{{- $problems = append $problems (printf "postgres.resources gives the server %s of memory%s: set postgres.resources.limits.memory to 128Mi or more." (include "orderflow.quantity" $memory) (ternary ", which is bytes" "" (regexMatch "^[0-9.]+$" (include "orderflow.quantity" $memory)))) -}}
{{- end -}}
{{- $made := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-postgres" (include "orderflow.fullname" .)) | default dict -}}
{{- $claims := ($made.spec | default dict).volumeClaimTemplates -}}
{{- if $made -}}
{{- $storage := .Values.postgres.storage -}}
{{- $was := ternary "a claim of the StatefulSet's own" "postgres.storage.existingClaim" (not (empty $claims)) -}}
{{- if ne (empty $claims) (ne $storage.existingClaim "") -}}
{{- $problems = append $problems (printf "Postgres was installed on %s, which cannot be changed later (postgres.storage.existingClaim): see 'What cannot be changed later' in the chart's README." $was) -}}
{{- else if $claims -}}
{{- $claim := (first $claims).spec -}}
{{- $size := $claim.resources.requests.storage -}}
{{- if ne (include "orderflow.mib" $size) (include "orderflow.mib" $storage.size) -}}
{{- $problems = append $problems (printf "postgres.storage.size is %s, but the volume was made with %s, and a StatefulSet's claim cannot be changed: set it back, or see 'What cannot be changed later' in the chart's README." (include "orderflow.quantity" $storage.size) $size) -}}
{{- end -}}
{{- if ne $storage.className ($claim.storageClassName | default "") -}}
{{- $problems = append $problems (printf "postgres.storage.className is %q, but the volume was made with %q, and a StatefulSet's claim cannot be changed: set it back." $storage.className ($claim.storageClassName | default "")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $needed := include "orderflow.neededConnections" . | int64 -}}
{{- /* Postgres keeps superuser_reserved_connections, three, for people. */ -}}
{{- if lt (sub (int64 .Values.postgres.maxConnections) 3) $needed -}}
{{- $problems = append $problems (printf "postgres.maxConnections (%d), of which Postgres keeps 3 for the superuser, is less than the %d connections that the pods of this release can open: raise it, or lower the replicas or api.databaseConnections." (int64 .Values.postgres.maxConnections) $needed) -}}
{{- end -}}
{{- range list "max_connections" "listen_addresses" "port" "data_directory" "config_file" "hba_file" "unix_socket_directories" -}}
{{- if hasKey ($.Values.postgres.settings | default dict) . -}}
{{- $problems = append $problems (printf "postgres.settings.%s is the chart's to decide: remove it%s." . (ternary " and use postgres.maxConnections" "" (eq . "max_connections"))) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $ways := list -}}
{{- range $key := list "host" "hostKey" "uriKey" -}}
{{- if index $external $key -}}{{- $ways = append $ways (printf "externalDatabase.%s" $key) -}}{{- end -}}
{{- end -}}
{{- if not $ways -}}
{{- $problems = append $problems "postgres.enabled is false, but externalDatabase.host is empty: say which server to use." -}}
{{- else if gt (len $ways) 1 -}}
{{- $problems = append $problems (printf "%s are all set: which of them says where the server is?" (join " and " $ways)) -}}
{{- end -}}
{{- if and $external.uriKey $roles.separate -}}
{{- $problems = append $problems "externalDatabase.uriKey is set, but database.roles.separate is true, and a URI is one role's: set separate to false, or use host and the roles' own Secrets." -}}
{{- end -}}
{{- if and $external.uriKey (or $external.caSecret $external.clientCertificateSecret $external.parameters) -}}
{{- $problems = append $problems "externalDatabase.uriKey is set, and a URI says all of it: remove caSecret, clientCertificateSecret and parameters, or use host." -}}
{{- end -}}
{{- if and $external.uriKey (eq .Values.consumer.autoscaling.mode "keda") -}}
{{- $problems = append $problems "consumer.autoscaling.mode is keda, which cannot read externalDatabase.uriKey: use host or hostKey." -}}
{{- end -}}
{{- if not $external.existingSecret -}}
{{- $problems = append $problems "postgres.enabled is false, but externalDatabase.existingSecret is empty: name a Secret with user name and password of the database's owner." -}}
{{- end -}}
{{- if and $external.caSecret (not (hasPrefix "verify-" $external.sslmode)) -}}
{{- $problems = append $problems (printf "externalDatabase.caSecret is set, but with sslmode %s nothing is checked against it: set sslmode to verify-full, or remove caSecret." $external.sslmode) -}}
{{- end -}}
{{- if or $roles.owner.name $roles.owner.existingSecret -}}
{{- $problems = append $problems "database.roles.owner is for the bundled Postgres: with an external database its name and password come from externalDatabase.existingSecret." -}}
{{- end -}}
{{- end -}}
{{- range $role := list "api" "consumer" "metrics" -}}
{{- $of := index $roles $role -}}
{{- if and (not $roles.separate) (or $of.name $of.existingSecret) -}}
{{- $problems = append $problems (printf "database.roles.%s is set, but database.roles.separate is false, so all use the owner's role: set separate to true, or remove it." $role) -}}
{{- end -}}
{{- end -}}
{{- $database := .Values.database.name -}}
{{- if or (has $database (list "template0" "template1")) (and (eq $database "postgres") .Values.postgres.enabled) -}}
{{- $problems = append $problems (printf "database.name is %s, which every server has for its own use: choose another name." $database) -}}
{{- end -}}
{{- range $role := ternary (list "owner" "api" "consumer" "metrics") (list "owner") $roles.separate -}}
{{- $name := (include "orderflow.role" (dict "root" $ "role" $role) | fromYaml).user | default "" -}}
{{- if or (has $name (list "postgres" "public" "none")) (hasPrefix "pg_" $name) -}}
{{- if (index $roles $role).name -}}
{{- $problems = append $problems (printf "database.roles.%s.name is %s, which Postgres keeps for itself: choose another name." $role $name) -}}
{{- else -}}
{{- $problems = append $problems (printf "the %s's role would be %s, and Postgres keeps names that begin with pg_ for itself: set database.roles.%s.name, or fullnameOverride." $role $name $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $names := dict -}}
{{- if $roles.separate -}}
{{- range $role := list "owner" "api" "consumer" "metrics" -}}
{{- $name := (include "orderflow.role" (dict "root" $ "role" $role) | fromYaml).user -}}
{{- if and $name (hasKey $names $name) -}}
{{- $problems = append $problems (printf "database.roles.%s.name and database.roles.%s.name are both %s: give each role its own." (get $names $name) $role $name) -}}
{{- end -}}
{{- $_ := set $names ($name | default "") $role -}}
{{- end -}}
{{- end -}}
{{- if gt (len (printf "%s_consumer" (include "orderflow.fullname" .))) 63 -}}
{{- $problems = append $problems "the names of the database roles are too long: set fullnameOverride." -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.exposure" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $listed := and .Values.networkPolicy.enabled (eq .Values.networkPolicy.api.access "listed") (not .Values.networkPolicy.api.from) -}}
{{- if and $api.ingress.enabled (not $api.ingress.hosts) -}}
{{- $problems = append $problems "api.ingress.enabled is true, but api.ingress.hosts is empty: name at least one host." -}}
{{- end -}}
{{- if and $api.httpRoute.enabled (not $api.httpRoute.parentRefs) -}}
{{- $problems = append $problems "api.httpRoute.enabled is true, but api.httpRoute.parentRefs is empty: name the Gateway." -}}
{{- end -}}
{{- if and $listed (or $api.ingress.enabled $api.httpRoute.enabled (ne $api.service.type "ClusterIP")) -}}
{{- $problems = append $problems "networkPolicy.api.access is listed, but networkPolicy.api.from is empty, so what api.ingress, api.httpRoute or api.service.type lets in would not reach the api: list the controller's namespace, or set access to cluster." -}}
{{- end -}}
{{- $published := list -}}
{{- if $api.ingress.enabled -}}{{- $published = append $published "api.ingress" -}}{{- end -}}
{{- if $api.httpRoute.enabled -}}{{- $published = append $published "api.httpRoute" -}}{{- end -}}
{{- if ne $api.service.type "ClusterIP" -}}{{- $published = append $published (printf "api.service.type %s" $api.service.type) -}}{{- end -}}
{{- if and $published (not $api.tokens.enabled) (not $api.allowAnonymous) -}}
{{- $problems = append $problems (printf "%s would publish an api that everybody can create and read orders with: set api.tokens.enabled to true, or, if something before it asks who is calling, api.allowAnonymous." (join " and " $published)) -}}
{{- end -}}
{{- if and $api.tokens.existingSecret (not $api.tokens.enabled) -}}
{{- $problems = append $problems "api.tokens.existingSecret is set, but api.tokens.enabled is false, so nobody would be asked for a token: set it to true, or remove the Secret." -}}
{{- end -}}
{{- if and $api.tokens.enabled $api.allowAnonymous -}}
{{- $problems = append $problems "api.allowAnonymous is true while api.tokens.enabled is true: which of the two is meant?" -}}
{{- end -}}
{{- if and .Values.metrics.monitors.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metrics.from) -}}
{{- $problems = append $problems "metrics.monitors.enabled is true, but networkPolicy.metrics.from is empty, so Prometheus would not reach the metrics: name its namespace there." -}}
{{- end -}}
{{- if and $api.service.nodePort (eq $api.service.type "ClusterIP") -}}
{{- $problems = append $problems "api.service.nodePort is set, but api.service.type is ClusterIP: set the type to NodePort or LoadBalancer, or remove nodePort." -}}
{{- end -}}
{{- if and (eq .Values.consumer.handler "webhook") (not .Values.receiver.enabled) .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.consumer) -}}
{{- $problems = append $problems "networkPolicy.egress.enabled is true, but networkPolicy.egress.consumer is empty, so the consumer could not reach consumer.webhook.url: allow it there." -}}
{{- end -}}
{{- range $component := list "api" "consumer" -}}
{{- $budget := (index $.Values $component).podDisruptionBudget -}}
{{- if and $budget.enabled (regexMatch "^0+%?$" (toString $budget.maxUnavailable)) -}}
{{- $problems = append $problems (printf "%s.podDisruptionBudget.maxUnavailable is %v, with which no node could be drained: set it to 1 or more, or podDisruptionBudget.enabled to false." $component $budget.maxUnavailable) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^[0-9]" (include "orderflow.fullname" .) -}}
{{- $problems = append $problems (printf "the objects would be named %s-…, and a Service's name must not begin with a digit: set fullnameOverride." (include "orderflow.fullname" .)) -}}
{{- end -}}
{{- if and .Values.serviceAccount.name (eq .Values.serviceAccount.name "default") .Values.serviceAccount.create -}}
{{- $problems = append $problems "serviceAccount.name is default, which every namespace has: set serviceAccount.create to false to use it." -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Durations that a service would refuse at its start; numbers have their ranges in the schema. */}}
{{- define "orderflow.validate.ranges" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $consumer := .Values.consumer -}}
{{- range list
  (list "api.requestTimeout" $api.requestTimeout "100ms" "1m")
  (list "api.shutdownDelay" $api.shutdownDelay "0s" "10m")
  (list "api.drainTimeout" $api.drainTimeout "0s" "10m")
  (list "consumer.drainTimeout" $consumer.drainTimeout "0s" "1h")
  (list "consumer.pollInterval" $consumer.pollInterval "10ms" "5m")
  (list "consumer.simulate.work" $consumer.simulate.work "0s" "1h")
  (list "consumer.backoff.base" $consumer.backoff.base "1ms" "1h")
  (list "consumer.backoff.max" $consumer.backoff.max "1ms" "24h")
  (list "consumer.breaker.probeInterval" $consumer.breaker.probeInterval "10ms" "10m")
  (list "consumer.breaker.probeMax" $consumer.breaker.probeMax "10ms" "10m")
  (list "loadgen.duration" .Values.loadgen.duration "0s" "720h") -}}
{{- $ms := include "orderflow.ms" (index . 1) | int64 -}}
{{- if or (lt $ms (include "orderflow.ms" (index . 2) | int64)) (gt $ms (include "orderflow.ms" (index . 3) | int64)) -}}
{{- $problems = append $problems (printf "%s (%s) must be from %s to %s." (index . 0) (index . 1) (index . 2) (index . 3)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $keep := $api.retention -}}
{{- $ms := include "orderflow.ms" $keep | int64 -}}
{{- if and (ne $ms 0) (or (lt $ms 60000) (gt $ms (include "orderflow.ms" "876000h" | int64))) -}}
{{- $problems = append $problems (printf "api.retention.%s (%s) must be 0s, for ever, or from 1m to 876000h." $name $keep) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Memory limits of the services: a Go heap of nothing collects without end. */}}
{{- define "orderflow.validate.memory" -}}
{{- $problems := list -}}
{{- range $component := list "api" "consumer" "loadgen" -}}
{{- with (((index $.Values $component).resources | default dict).limits | default dict).memory -}}
{{- if lt (include "orderflow.mib" . | int64) 16 -}}
{{- $problems = append $problems (printf "%s.resources.limits.memory (%s%s) is less than a service starts with: set it to 16Mi or more (64Mi is a good beginning), or remove it." $component (include "orderflow.quantity" .) (ternary " bytes" "" (regexMatch "^[0-9.]+$" (include "orderflow.quantity" .)))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Labels and annotations of the user's beside those of the chart's own: one key twice is no object. */}}
{{- define "orderflow.validate.metadata" -}}
{{- $problems := list -}}
{{- $maps := dict
  "commonLabels" .Values.commonLabels "commonAnnotations" .Values.commonAnnotations "metrics.monitors.labels" .Values.metrics.monitors.labels "metrics.rules.labels" .Values.metrics.rules.labels
  "metrics.dashboard.labels" .Values.metrics.dashboard.labels -}}
{{- range list "api" "consumer" "loadgen" "postgres" -}}
{{- $_ := set $maps (printf "%s.annotations" .) (index $.Values .).annotations -}}
{{- $_ := set $maps (printf "%s.podLabels" .) (index $.Values .).podLabels -}}
{{- $_ := set $maps (printf "%s.podAnnotations" .) (index $.Values .).podAnnotations -}}
{{- end -}}
{{- range $path, $map := $maps -}}
{{- range $key, $_ := $map -}}
{{- if or (regexMatch "^app\\.kubernetes\\.io/(name|instance|component|version|part-of|managed-by)$" $key) (eq $key "helm.sh/chart") (hasPrefix "checksum/" $key) (eq $key "kubectl.kubernetes.io/default-container") -}}
{{- $problems = append $problems (printf "%s sets %s, which the chart sets: remove it." $path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Volumes of the user's beside those of the chart's own. */}}
{{- define "orderflow.validate.volumes" -}}
{{- $problems := list -}}
{{- $own := dict
  "api" "^(database-.*|tokens|admin-token)$"
  "consumer" "^(database-.*|webhook(-ca|-tls)?)$"
  "postgres" "^(data|config|run|tmp|shm|tls|superuser|owner)$" -}}
{{- range $component, $pattern := $own -}}
{{- range (index $.Values $component).extraVolumes -}}
{{- if regexMatch $pattern (toString .name) -}}
{{- $problems = append $problems (printf "%s.extraVolumes has a volume %s, a name that the chart has for its own: choose another." $component .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Variables of the user's that the chart sets itself, with the value to use instead. */}}
{{- define "orderflow.validate.env" -}}
{{- $problems := list -}}
{{- $common := dict "LOG_LEVEL" "log.level" "LOG_FORMAT" "log.format" "GOMEMLIMIT" "resources.limits.memory" -}}
{{- $database := dict "DATABASE_URL" "externalDatabase" "PGUSER" "database.roles" "PGPASSWORD" "database.roles" "PGPASSWORD_FILE" "database.roles" "QUEUE_NAME" "queue.name" "METRICS_PORT" "" -}}
{{- $own := dict
  "api" (dict "API_PORT" "" "MIGRATE_ON_START" "" "REQUEST_TIMEOUT" "api.requestTimeout" "SHUTDOWN_DELAY" "api.shutdownDelay" "DRAIN_TIMEOUT" "api.drainTimeout" "DB_MAX_CONNS" "api.databaseConnections" "DURABILITY" "api.durability" "API_TOKENS" "api.tokens" "API_TOKENS_FILE" "api.tokens" "ADMIN_TOKEN" "api.adminToken" "ADMIN_TOKEN_FILE" "api.adminToken" "PGMQ_INSTALL" "queue.pgmq" "UNLOGGED_QUEUE" "queue.unlogged" "DASHBOARD" "api.dashboard" "ORDER_RETENTION" "api.retention.orders" "DEAD_LETTER_RETENTION" "api.retention.deadLetters")
  "api.migration" (dict "PGMQ_INSTALL" "queue.pgmq" "API_DB_ROLE" "database.roles" "API_DB_PASSWORD" "database.roles" "CONSUMER_DB_ROLE" "database.roles" "CONSUMER_DB_PASSWORD" "database.roles" "METRICS_DB_ROLE" "database.roles" "METRICS_DB_PASSWORD" "database.roles")
  "consumer" (dict "CONSUMER_ID" "" "BATCH_SIZE" "consumer.batchSize" "VT" "consumer.visibilityTimeout" "CONCURRENCY" "consumer.concurrency" "PREFETCH" "consumer.prefetch" "MAX_ATTEMPTS" "consumer.maxAttempts" "MAX_CRASHES" "consumer.maxCrashes" "BACKOFF_BASE" "consumer.backoff.base" "BACKOFF_MAX" "consumer.backoff.max" "BACKOFF_MULTIPLIER" "consumer.backoff.multiplier" "BREAKER_SHARE" "consumer.breaker.share" "BREAKER_ATTEMPTS" "consumer.breaker.attempts" "BREAKER_PROBE_INTERVAL" "consumer.breaker.probeInterval" "BREAKER_PROBE_MAX" "consumer.breaker.probeMax" "POLL_INTERVAL" "consumer.pollInterval" "DRAIN_TIMEOUT" "consumer.drainTimeout" "HANDLER_TIMEOUT" "consumer.handlerTimeout" "HANDLER" "consumer.handler" "SIMULATE_WORK" "consumer.simulate.work" "SIMULATE_FAILURES" "consumer.simulate.failures" "SIMULATE_CRASH" "consumer.simulate.crash" "EFFECT_FUNCTION" "consumer.sql.function" "EFFECT_CONNECTIONS" "consumer.sql.connections" "WEBHOOK_URL" "consumer.webhook.url" "WEBHOOK_URL_FILE" "consumer.webhook.urlKey" "WEBHOOK_SECRETS" "consumer.webhook.existingSecret" "WEBHOOK_SECRETS_FILE" "consumer.webhook.existingSecret" "WEBHOOK_HEADERS" "consumer.webhook.headersKey" "WEBHOOK_HEADERS_FILE" "consumer.webhook.headersKey" "WEBHOOK_CA_FILE" "consumer.webhook.tls" "WEBHOOK_CERT_FILE" "consumer.webhook.tls" "WEBHOOK_KEY_FILE" "consumer.webhook.tls")
  "loadgen" (dict "API_URL" "loadgen.apiUrl" "API_TOKEN" "loadgen.token" "API_TOKEN_FILE" "loadgen.token" "RUN_ID" "" "JOB_COMPLETION_INDEX" "" "READY_TIMEOUT" "" "ORDERS" "loadgen.orders" "CONCURRENCY" "loadgen.concurrency" "RATE" "loadgen.rate" "DURATION" "loadgen.duration" "STAGES" "loadgen.stages" "THRESHOLDS" "loadgen.thresholds" "RECEIVER_URL" "receiver.enabled") -}}
{{- /* Listening on one address would shut out probes, Services and Prometheus. */ -}}
{{- $listening := list "API_HOST" "METRICS_HOST" -}}
{{- range $component, $variables := dict "api" .Values.api.env "api.migration" .Values.api.migration.env "consumer" .Values.consumer.env "loadgen" .Values.loadgen.env -}}
{{- $taken := merge (dict) (get $own $component) $common (ternary dict $database (eq $component "loadgen")) -}}
{{- $seen := dict -}}
{{- range $variables -}}
{{- if hasKey $seen .name -}}
{{- $problems = append $problems (printf "%s.env has %s twice: remove one." $component .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if hasKey $taken .name -}}
{{- $instead := get $taken .name -}}
{{- $problems = append $problems (printf "%s.env sets %s, which the chart sets: %s." $component .name (ternary (printf "use %s" $instead) "remove it" (ne $instead ""))) -}}
{{- else if and (has .name $listening) (ne $component "loadgen") -}}
{{- $problems = append $problems (printf "%s.env sets %s, but probes reach the pod by its own address: remove it." $component .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
