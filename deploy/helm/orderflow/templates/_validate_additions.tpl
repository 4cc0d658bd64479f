{{/* What users add of their own, beside what the chart sets. */}}

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
  "api" "^(database-.*|tokens|admin-token|tracing)$"
  "consumer" "^(database-.*|webhook(-ca|-tls)?|tracing)$"
  "postgres" "^(data|config|run|tmp|shm|tls|superuser|owner)$" -}}
{{- /* The receiver's pod has what loadgen's have, and two of its own. */ -}}
{{- if .Values.receiver.enabled -}}
{{- $_ := set $own "loadgen" "^(receiver|ids)$" -}}
{{- end -}}
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
{{- /* By component: a variable that the chart sets, and the value that it follows from; empty: none. */ -}}
{{- $own := .Files.Get "files/variables.json" | fromJson -}}
{{- /* Listening on one address would shut out probes, Services and Prometheus. */ -}}
{{- $listening := list "API_HOST" "METRICS_HOST" -}}
{{- range $component, $variables := dict "api" .Values.api.env "api.migration" .Values.api.migration.env "consumer" .Values.consumer.env "loadgen" .Values.loadgen.env -}}
{{- $taken := merge (dict) (get $own $component) (get $own "every") (ternary dict (get $own "of the database") (eq $component "loadgen")) -}}
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
