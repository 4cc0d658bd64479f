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
{{- if and .Values.postgres.enabled .Values.postgres.tls.enabled (not .Values.postgres.tls.existingSecret) -}}{{- $names = append $names (printf "%s-postgres-tls" $fullname) -}}{{- end -}}
{{- if and .Values.api.adminToken.enabled (not .Values.api.adminToken.existingSecret) -}}{{- $names = append $names (printf "%s-admin" $fullname) -}}{{- end -}}
{{- if and .Values.api.tokens.enabled (not .Values.api.tokens.existingSecret) -}}{{- $names = append $names (printf "%s-tokens" $fullname) -}}{{- end -}}
{{- if .Values.receiver.enabled -}}{{- $names = append $names (include "orderflow.receiver.name" .) -}}{{- end -}}
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

{{/*
The bundled server's certificate, as YAML with ca, crt and key: what the cluster holds, or drawn for ten years. A new one is drawn when
its Secret has been deleted.
*/}}
{{- define "orderflow.postgres.tls" -}}
{{- if not .Values.secrets.generate -}}
ca: {{ include "orderflow.postgres.tlsSecret" . }}
{{- else -}}
{{- if not (hasKey .Values "drawn") -}}
{{- $_ := set .Values "drawn" dict -}}
{{- end -}}
{{- if not (hasKey .Values.drawn "tls") -}}
{{- $found := (lookup "v1" "Secret" .Release.Namespace (include "orderflow.postgres.tlsSecret" .) | default dict).data | default dict -}}
{{- if and (hasKey $found "ca.crt") (hasKey $found "tls.crt") (hasKey $found "tls.key") -}}
{{- $_ := set .Values.drawn "tls" (dict "ca" (get $found "ca.crt" | b64dec) "crt" (get $found "tls.crt" | b64dec) "key" (get $found "tls.key" | b64dec)) -}}
{{- else -}}
{{- $host := include "orderflow.postgres.host" . -}}
{{- $ca := genCAWithKey (printf "%s authority" $host) 3650 (genPrivateKey "ecdsa") -}}
{{- $names := list $host (printf "%s.%s" $host .Release.Namespace) (printf "%s.%s.svc" $host .Release.Namespace) (printf "%s.%s.svc.cluster.local" $host .Release.Namespace) "localhost" -}}
{{- $made := genSignedCertWithKey $host (list "127.0.0.1") $names 3650 $ca (genPrivateKey "ecdsa") -}}
{{- $_ := set .Values.drawn "tls" (dict "ca" $ca.Cert "crt" $made.Cert "key" $made.Key) -}}
{{- end -}}
{{- end -}}
{{- toYaml .Values.drawn.tls -}}
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

{{/*
A Secret as files. The path has the Secret's name, so that an error about the file
names what to mend; no subPath, which would never see a change.
(dict "for" <name of the volume> "secret" <Secret> "key" <key>)
*/}}
{{- define "orderflow.secretFile" -}}
/etc/orderflow/{{ .for }}/{{ .secret }}/{{ .key }}
{{- end -}}

{{- define "orderflow.secretVolume" -}}
- name: {{ .for }}
  secret:
    secretName: {{ .secret | quote }}
{{- end -}}

{{- define "orderflow.secretMount" -}}
- name: {{ .for }}
  mountPath: /etc/orderflow/{{ .for }}/{{ .secret }}
  readOnly: true
{{- end -}}

{{/* The api's Secrets with tokens, by the name of their volume: (dict "root" $) as YAML: {tokens: {secret: …, key: …, variable: …}} */}}
{{- define "orderflow.tokenSecrets" -}}
{{- $api := .Values.api -}}
{{- $fullname := include "orderflow.fullname" . -}}
{{- $all := dict -}}
{{- if $api.tokens.enabled -}}
{{- $_ := set $all "tokens" (dict "variable" "API_TOKENS_FILE" "secret" ($api.tokens.existingSecret | default (printf "%s-tokens" $fullname)) "key" $api.tokens.key) -}}
{{- end -}}
{{- if $api.adminToken.enabled -}}
{{- $_ := set $all "admin-token" (dict "variable" "ADMIN_TOKEN_FILE" "secret" ($api.adminToken.existingSecret | default (printf "%s-admin" $fullname)) "key" $api.adminToken.key) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* A variable with the api's tokens, for who calls the api; nothing where there are none: (dict "root" $ "name" <variable>) */}}
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
