{{/*
Generated secrets. A value is, in this order: what the Secret in the cluster
already holds, or new and random. So an upgrade keeps it, and so does an
uninstall with a later install (the Secrets stay: resource-policy keep).

Where nothing can be looked up (helm template, GitOps tools that render
without a cluster) every rendering would have new passwords: secrets.generate
is for there.

Within one rendering the value is drawn once and remembered, because it goes
into the Secret and into the checksum annotation of the pods that use it.
*/}}

{{/* Names of the Secrets that the chart draws, or, with secrets.generate false, expects. */}}
{{- define "orderflow.generatedSecrets" -}}
{{- $fullname := include "orderflow.fullname" . -}}
{{- $names := list -}}
{{- range ternary (list "owner" "api" "consumer" "metrics") (list "owner") .Values.database.roles.separate -}}
{{- $role := include "orderflow.role" (dict "root" $ "role" .) | fromYaml -}}
{{- if $role.generated -}}{{- $names = append $names $role.secret -}}{{- end -}}
{{- end -}}
{{- if and .Values.postgres.enabled (not .Values.postgres.superuser.existingSecret) -}}{{- $names = append $names (printf "%s-postgres" $fullname) -}}{{- end -}}
{{- if and .Values.api.adminToken.enabled (not .Values.api.adminToken.existingSecret) -}}{{- $names = append $names (printf "%s-admin" $fullname) -}}{{- end -}}
{{- if and .Values.api.tokens.enabled (not .Values.api.tokens.existingSecret) -}}{{- $names = append $names (printf "%s-tokens" $fullname) -}}{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* The value: (dict "root" $ "name" <Secret> "key" <key>) */}}
{{- define "orderflow.generated" -}}
{{- if not .root.Values.secrets.generate -}}
{{- .name -}}
{{- else -}}
{{- if not (hasKey .root.Values "drawn") -}}
{{- $_ := set .root.Values "drawn" dict -}}
{{- end -}}
{{- $drawn := .root.Values.drawn -}}
{{- $at := printf "%s/%s" .name .key -}}
{{- if not (hasKey $drawn $at) -}}
{{- $found := (lookup "v1" "Secret" .root.Release.Namespace .name | default dict).data | default dict -}}
{{- $value := ternary (get $found .key | b64dec) (randAlphaNum 40) (hasKey $found .key) -}}
{{- $_ := set $drawn $at $value -}}
{{- end -}}
{{- get $drawn $at -}}
{{- end -}}
{{- end -}}

{{/* A whole Secret: (dict "root" $ "component" "database" "name" <Secret> "key" <key> "more" <dict of other entries>) */}}
{{- define "orderflow.secret" -}}
{{- if .root.Values.secrets.generate -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "orderflow.metadata" (dict "root" .root "component" .component "name" .name "annotations" (dict "helm.sh/resource-policy" "keep")) | nindent 2 }}
type: Opaque
stringData:
  {{- range $key, $value := .more }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
  {{ .key }}: {{ include "orderflow.generated" (dict "root" .root "name" .name "key" .key) | quote }}
{{- end -}}
{{- end -}}

{{/* A variable with the api's tokens, for who asks or calls the api; nothing where there are none: (dict "root" $ "name" <variable>) */}}
{{- define "orderflow.apiTokensEnv" -}}
{{- with .root.Values.api.tokens -}}
{{- if .enabled -}}
- name: {{ $.name }}
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | default (printf "%s-tokens" (include "orderflow.fullname" $.root)) | quote }}
      key: {{ .key | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
