{{/*
What a consumer needs to deliver orders by HTTP. Secrets are mounted and not put into the environment: a file may end with a line end, as
most do that somebody has written, and it can be read again. Each helper gets .Values.consumer.
*/}}

{{- define "orderflow.webhook.env" -}}
{{- with .webhook -}}
{{- if not (and .existingSecret .urlKey) }}
- name: WEBHOOK_URL
  value: {{ .url | quote }}
{{- end }}
{{- if .existingSecret }}
{{- range $variable, $key := dict "WEBHOOK_HEADERS" .headersKey "WEBHOOK_SECRETS" .secretsKey "WEBHOOK_URL" .urlKey }}
{{- if $key }}
- name: {{ $variable }}_FILE
  value: {{ printf "/etc/orderflow/webhook/%s" $key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .tls.caSecret }}
- name: WEBHOOK_CA_FILE
  value: {{ printf "/etc/orderflow/webhook-ca/%s" $.webhook.tls.caKey | quote }}
{{- end }}
{{- with .tls.certSecret }}
- name: WEBHOOK_CERT_FILE
  value: /etc/orderflow/webhook-tls/tls.crt
- name: WEBHOOK_KEY_FILE
  value: /etc/orderflow/webhook-tls/tls.key
{{- end }}
{{- end -}}
{{- end -}}

{{/* The Secrets by the names of their volumes, as YAML. */}}
{{- define "orderflow.webhook.secrets" -}}
{{- if eq .handler "webhook" -}}
{{- $volumes := dict "webhook" .webhook.existingSecret "webhook-ca" .webhook.tls.caSecret "webhook-tls" .webhook.tls.certSecret -}}
{{- range $volume, $secret := $volumes }}
{{- if $secret }}
{{ $volume }}: {{ $secret | quote }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "orderflow.webhook.volumes" -}}
{{- range $volume, $secret := include "orderflow.webhook.secrets" . | fromYaml }}
- name: {{ $volume }}
  secret:
    secretName: {{ $secret | quote }}
{{- end }}
{{- end -}}

{{- define "orderflow.webhook.mounts" -}}
{{- range $volume, $_ := include "orderflow.webhook.secrets" . | fromYaml }}
- name: {{ $volume }}
  mountPath: /etc/orderflow/{{ $volume }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* What contradicts itself among the webhook's values, as a YAML list. */}}
{{- define "orderflow.validate.webhook" -}}
{{- $problems := list -}}
{{- $handler := .handler -}}
{{- with .webhook -}}
{{- $tls := or .tls.caSecret .tls.certSecret -}}
{{- if eq $handler "webhook" -}}
{{- if not (or .url .urlKey) -}}
{{- $problems = append $problems "consumer.handler is webhook, but consumer.webhook.url is empty: say where orders are delivered." -}}
{{- end -}}
{{- if and .url .urlKey -}}
{{- $problems = append $problems "consumer.webhook.url and consumer.webhook.urlKey are set: which of the two is it?" -}}
{{- end -}}
{{- if and (or .urlKey .headersKey) (not .existingSecret) -}}
{{- $problems = append $problems "consumer.webhook.urlKey or headersKey is set, but consumer.webhook.existingSecret is empty: name the Secret that has them." -}}
{{- end -}}
{{- if and $tls (hasPrefix "http://" .url) -}}
{{- $problems = append $problems "consumer.webhook.tls is set, but consumer.webhook.url is not encrypted: make it https://, or remove consumer.webhook.tls." -}}
{{- end -}}
{{- else if or .url .existingSecret .urlKey .headersKey $tls -}}
{{- $problems = append $problems (printf "consumer.webhook is set, but consumer.handler is %s: set consumer.handler to webhook, or remove consumer.webhook." $handler) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
