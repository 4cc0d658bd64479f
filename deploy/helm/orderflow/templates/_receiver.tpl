{{- define "orderflow.receiver.name" -}}
{{- include "orderflow.fullname" . }}-receiver
{{- end -}}

{{/* What the receiver makes of consumer.webhook, as YAML; nothing without one. */}}
{{- define "orderflow.receiver.webhook" -}}
{{- if .Values.receiver.enabled -}}
url: http://{{ include "orderflow.receiver.name" . }}/orders
existingSecret: {{ include "orderflow.receiver.name" . }}
secretsKey: secrets
{{- end -}}
{{- end -}}

{{/* Where a load generator asks for the receiver's account. */}}
{{- define "orderflow.receiver.askEnv" -}}
{{- if .Values.receiver.enabled -}}
- name: RECEIVER_URL
  value: http://{{ include "orderflow.receiver.name" . }}:9102
{{- end -}}
{{- end -}}

{{- define "orderflow.validate.receiver" -}}
{{- $problems := list -}}
{{- if .Values.receiver.enabled -}}
{{- $webhook := .Values.consumer.webhook -}}
{{- if ne .Values.consumer.handler "webhook" -}}
{{- $problems = append $problems (printf "receiver.enabled is true, but consumer.handler is %s, so that nothing would arrive there: set consumer.handler to webhook." .Values.consumer.handler) -}}
{{- end -}}
{{- if or $webhook.url $webhook.urlKey $webhook.existingSecret $webhook.tls.caSecret $webhook.tls.certSecret -}}
{{- $problems = append $problems "receiver.enabled is true, so orders are delivered to the receiver: remove consumer.webhook, or set receiver.enabled to false." -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
