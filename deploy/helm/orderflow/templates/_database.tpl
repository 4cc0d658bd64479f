{{/*
How pods reach the database, and as whom. There are four roles:

  owner     owns the database and its schema, runs the migration, nothing else
  api       orders in, messages out; cannot acknowledge
  consumer  messages in, orders' outcome; cannot create orders
  metrics   reads

The migration creates the last three and sets their passwords. Passwords are
files of mounted Secrets (PGPASSWORD_FILE), which the services read again for each
connection: a Secret may change under a running pod, passwords may contain
anything, and no printed URL can show them.
*/}}

{{- define "orderflow.postgres.host" -}}
{{- ternary (printf "%s-postgres" (include "orderflow.fullname" .)) .Values.externalDatabase.host .Values.postgres.enabled -}}
{{- end -}}

{{/* The database's port; the bundled server has Postgres' own. */}}
{{- define "orderflow.postgres.port" -}}
{{- ternary 5432 (int .Values.externalDatabase.port) .Values.postgres.enabled -}}
{{- end -}}

{{- define "orderflow.postgres.sslmode" -}}
{{- if not .Values.postgres.enabled -}}
{{- .Values.externalDatabase.sslmode -}}
{{- else -}}
{{- ternary "verify-full" "disable" .Values.postgres.tls.enabled -}}
{{- end -}}
{{- end -}}

{{/* Secret with the certificate authority that services verify by; empty for the public ones, or none. */}}
{{- define "orderflow.database.ca" -}}
{{- if not .Values.postgres.enabled -}}
{{- .Values.externalDatabase.caSecret -}}
{{- else if .Values.postgres.tls.enabled -}}
{{- include "orderflow.postgres.tlsSecret" . -}}
{{- end -}}
{{- end -}}

{{/* Secret with the client certificate; empty for none. */}}
{{- define "orderflow.database.client" -}}
{{- if not .Values.postgres.enabled -}}{{- .Values.externalDatabase.clientCertificateSecret -}}{{- end -}}
{{- end -}}

{{- define "orderflow.postgres.tlsSecret" -}}
{{- .Values.postgres.tls.existingSecret | default (printf "%s-postgres-tls" (include "orderflow.fullname" .)) -}}
{{- end -}}

{{/*
The database's address, without user and password: (dict "root" $ "libpq" <whether psql and its like are to read it>).
A host that only a Secret knows is put in by the kubelet. What only the services understand, libpq would refuse.
*/}}
{{- define "orderflow.database.url" -}}
{{- $libpq := .libpq -}}
{{- with .root -}}
{{- $external := .Values.externalDatabase -}}
{{- $host := include "orderflow.postgres.host" . -}}
{{- if and (not .Values.postgres.enabled) $external.hostKey -}}{{- $host = "$(DATABASE_HOST)" -}}{{- end -}}
postgres://{{ ternary (printf "[%s]" $host) $host (contains ":" $host) }}:{{ include "orderflow.postgres.port" . }}/{{ .Values.database.name }}?sslmode={{ include "orderflow.postgres.sslmode" . }}
{{- if include "orderflow.database.ca" . }}&sslrootcert={{ include "orderflow.secretFile" (dict "for" "database-ca" "secret" (include "orderflow.database.ca" .) "key" (ternary "ca.crt" .Values.externalDatabase.caKey .Values.postgres.enabled)) }}{{ end -}}
{{- if not .Values.postgres.enabled -}}
{{- with $external.clientCertificateSecret -}}
&sslcert={{ include "orderflow.secretFile" (dict "for" "database-client" "secret" . "key" "tls.crt") }}&sslkey={{ include "orderflow.secretFile" (dict "for" "database-client" "secret" . "key" "tls.key") }}
{{- end -}}
{{- range $name, $value := $external.parameters -}}
{{- if or (not $libpq) (has $name (include "orderflow.libpq.parameters" $ | fromYamlArray)) -}}
&{{ $name }}={{ $value | urlquery | replace "+" "%20" }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Those that PostgreSQL 14's libpq knows (https://www.postgresql.org/docs/14/libpq-connect.html), but for what the chart sets. */}}
{{- define "orderflow.libpq.parameters" -}}
[application_name, channel_binding, client_encoding, connect_timeout, fallback_application_name, gssencmode, gsslib, hostaddr, keepalives,
keepalives_count, keepalives_idle, keepalives_interval, krbsrvname, options, passfile, sslcert, sslcrl, sslcrldir, sslkey, sslpassword, sslrootcert, sslsni,
ssl_max_protocol_version, ssl_min_protocol_version, target_session_attrs, tcp_user_timeout]
{{- end -}}

{{/*
A role as YAML: (dict "root" $ "role" "api")
  user       its name, or, when only its Secret knows that, userKey
  secret     Secret with its password, under key
  generated  whether this chart makes the Secret
*/}}
{{- define "orderflow.role" -}}
{{- $values := .root.Values -}}
{{- $own := index $values.database.roles .role -}}
{{- $fullname := include "orderflow.fullname" .root -}}
{{- $name := $own.name | default (printf "%s_%s" ($fullname | replace "-" "_") .role) -}}
{{- if and (eq .role "owner") (not $values.postgres.enabled) -}}
userKey: {{ $values.externalDatabase.usernameKey | quote }}
secret: {{ $values.externalDatabase.existingSecret | quote }}
key: {{ $values.externalDatabase.passwordKey | quote }}
generated: false
{{- else if or (eq .role "owner") $values.database.roles.separate -}}
user: {{ $name | quote }}
secret: {{ $own.existingSecret | default (printf "%s-db-%s" $fullname .role) | quote }}
key: {{ $own.key | quote }}
generated: {{ eq $own.existingSecret "" }}
{{- else -}}
{{- include "orderflow.role" (dict "root" .root "role" "owner") -}}
{{- end -}}
{{- end -}}

{{/* Variables by which a container reaches the database: (dict "root" $ "role" "api" "libpq" <see above>) */}}
{{- define "orderflow.database.env" -}}
{{- $role := include "orderflow.role" . | fromYaml -}}
{{- $external := ternary dict .root.Values.externalDatabase .root.Values.postgres.enabled -}}
{{- if $external.uriKey -}}
- name: DATABASE_URL_FILE
  value: {{ include "orderflow.secretFile" (dict "for" (printf "database-%s" .role) "secret" $role.secret "key" $external.uriKey) | quote }}
{{- else -}}
{{- if $external.hostKey }}
- name: DATABASE_HOST
  valueFrom:
    secretKeyRef: {name: {{ $external.existingSecret | quote }}, key: {{ $external.hostKey | quote }}}
{{- end }}
- name: DATABASE_URL
  value: {{ include "orderflow.database.url" . | quote }}
- name: PGUSER
  {{- if $role.user }}
  value: {{ $role.user | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef: {name: {{ $role.secret | quote }}, key: {{ $role.userKey | quote }}}
  {{- end }}
- name: PGPASSWORD_FILE
  value: {{ include "orderflow.secretFile" (dict "for" (printf "database-%s" .role) "secret" $role.secret "key" $role.key) | quote }}
{{- end }}
- name: QUEUE_NAME
  value: {{ .root.Values.queue.name | quote }}
{{- end -}}

{{/*
Volumes of what the roles need to reach the database, and their mounts: (dict "root" $ "roles" (list "api") "libpq" <see above>).
A key that others can read is refused by libpq; the pod's fsGroup reads it.
*/}}
{{- define "orderflow.database.volumes" -}}
{{- range .roles }}
{{- $role := include "orderflow.role" (dict "root" $.root "role" .) | fromYaml }}
{{ include "orderflow.secretVolume" (dict "for" (printf "database-%s" .) "secret" $role.secret) }}
{{- end }}
{{- with include "orderflow.database.ca" .root }}
- name: database-ca
  secret:
    secretName: {{ . | quote }}
    {{- /* Nobody but the server needs its key. */}}
    {{- if $.root.Values.postgres.enabled }}
    items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- with include "orderflow.database.client" .root }}
{{ include "orderflow.secretVolume" (dict "for" "database-client" "secret" .) }}
{{- if $.libpq }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end -}}

{{- define "orderflow.database.mounts" -}}
{{- range .roles }}
{{- $role := include "orderflow.role" (dict "root" $.root "role" .) | fromYaml }}
{{ include "orderflow.secretMount" (dict "for" (printf "database-%s" .) "secret" $role.secret) }}
{{- end }}
{{- with include "orderflow.database.ca" .root }}
{{ include "orderflow.secretMount" (dict "for" "database-ca" "secret" .) }}
{{- end }}
{{- with include "orderflow.database.client" .root }}
{{ include "orderflow.secretMount" (dict "for" "database-client" "secret" .) }}
{{- end }}
{{- end -}}

{{/*
Changes when a password that this chart knows does: (dict "root" $ "roles" (list "api")).
A Secret that was made anew rolls the pods, and the migration in them sets the
new password.
*/}}
{{- define "orderflow.database.checksum" -}}
{{- $seen := list -}}
{{- range .roles -}}
{{- $role := include "orderflow.role" (dict "root" $.root "role" .) | fromYaml -}}
{{- $value := $role.secret -}}
{{- if $role.generated -}}
{{- $value = include "orderflow.generated" (dict "root" $.root "name" $role.secret "key" $role.key) -}}
{{- end -}}
{{- $seen = append $seen $value -}}
{{- end -}}
{{- /* A certificate authority is read at the start only. */ -}}
{{- if and .root.Values.postgres.enabled .root.Values.postgres.tls.enabled (not .root.Values.postgres.tls.existingSecret) -}}
{{- $seen = append $seen (include "orderflow.postgres.tls" .root | fromYaml).ca -}}
{{- end -}}
{{- join "/" $seen | sha256sum -}}
{{- end -}}

{{- define "orderflow.postgres.pgdata" -}}
/var/lib/postgresql/pgdata
{{- end -}}
