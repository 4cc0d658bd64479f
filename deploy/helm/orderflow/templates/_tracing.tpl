{{/* What api and consumers need to send traces. Each helper gets the root. */}}

{{- define "orderflow.tracing.env" -}}
{{- with .Values.tracing -}}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler | quote }}
{{- if hasSuffix "traceidratio" .sampler }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .ratio | quote }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "orderflow.tracing.attributes" $ | quote }}
{{- with .existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS_FILE
  value: {{ include "orderflow.secretFile" (dict "for" "tracing" "secret" . "key" $.Values.tracing.headersKey) | quote }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "orderflow.tracing.attributes" -}}
{{- $pairs := list (printf "k8s.namespace.name=%s" .Release.Namespace) (printf "service.namespace=%s" (include "orderflow.fullname" .)) -}}
{{- range $name, $value := .Values.tracing.resourceAttributes -}}
{{- $pairs = append $pairs (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "orderflow.tracing.volumes" -}}
{{- if and .Values.tracing.endpoint .Values.tracing.existingSecret -}}
{{ include "orderflow.secretVolume" (dict "for" "tracing" "secret" .Values.tracing.existingSecret) }}
{{- end -}}
{{- end -}}

{{- define "orderflow.tracing.mounts" -}}
{{- if and .Values.tracing.endpoint .Values.tracing.existingSecret -}}
{{ include "orderflow.secretMount" (dict "for" "tracing" "secret" .Values.tracing.existingSecret) }}
{{- end -}}
{{- end -}}

{{/* The way to the collector. A policy knows addresses, not host names: without a rule only the port can be told. */}}
{{- define "orderflow.tracing.egress" -}}
{{- with .Values.tracing.endpoint -}}
{{- if $.Values.networkPolicy.egress.collector -}}
{{- toYaml $.Values.networkPolicy.egress.collector }}
{{- else -}}
- ports: [{port: {{ include "orderflow.tracing.port" . }}}]
{{- end }}
{{- end -}}
{{- end -}}

{{- define "orderflow.tracing.port" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else -}}
{{- ternary "443" "80" (hasPrefix "https://" .) -}}
{{- end -}}
{{- end -}}

{{/* What contradicts itself among the values of traces, as a YAML list. */}}
{{- define "orderflow.validate.tracing" -}}
{{- $problems := list -}}
{{- with .Values.tracing -}}
{{- if and .endpoint (not (regexMatch "^https?://[^/?#@]+(/[^?#]*)?$" .endpoint)) -}}
{{- $problems = append $problems (printf "tracing.endpoint is %s: make it a URL such as http://collector:4318; a token goes into a Secret (tracing.existingSecret)." (regexReplaceAll "//.*@" .endpoint "//***@")) -}}
{{- end -}}
{{- if and .urlTemplate (not (and (regexMatch "^https?://[^/{}@]+/" .urlTemplate) (contains "{trace_id}" .urlTemplate))) -}}
{{- $problems = append $problems (printf "tracing.urlTemplate is %s: make it an http or https URL with {trace_id} behind its host." .urlTemplate) -}}
{{- end -}}
{{- if and .existingSecret (not .endpoint) -}}
{{- $problems = append $problems "tracing.existingSecret is set, but tracing.endpoint is empty: say where the collector is." -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
