{{/*
How pods reach the database, and as whom. There are four roles:

  owner     owns the database and its schema, runs the migration, nothing else
  api       orders in, messages out; cannot acknowledge
  consumer  messages in, orders' outcome; cannot create orders
  metrics   reads

The migration creates the last three and sets their passwords. Passwords travel
as PGPASSWORD beside a DATABASE_URL without one: so they may contain anything,
and no printed URL can show them.
*/}}

{{- define "orderflow.postgres.host" -}}
{{- ternary (printf "%s-postgres" (include "orderflow.fullname" .)) .Values.externalDatabase.host .Values.postgres.enabled -}}
{{- end -}}

{{/* The database's port; the bundled server has Postgres' own. */}}
{{- define "orderflow.postgres.port" -}}
{{- ternary 5432 (int .Values.externalDatabase.port) .Values.postgres.enabled -}}
{{- end -}}

{{- define "orderflow.postgres.sslmode" -}}
{{- /* Inside the cluster, behind a NetworkPolicy, the bundled server has no certificate. */ -}}
{{- ternary "disable" .Values.externalDatabase.sslmode .Values.postgres.enabled -}}
{{- end -}}

{{- define "orderflow.database.ca" -}}
{{- if not .Values.postgres.enabled }}{{ .Values.externalDatabase.caSecret }}{{ end -}}
{{- end -}}

{{- define "orderflow.database.url" -}}
{{- $host := include "orderflow.postgres.host" . -}}
postgres://{{ ternary (printf "[%s]" $host) $host (contains ":" $host) }}:{{ include "orderflow.postgres.port" . }}/{{ .Values.database.name }}?sslmode={{ include "orderflow.postgres.sslmode" . }}
{{- if include "orderflow.database.ca" . }}&sslrootcert=/etc/orderflow/database-ca/{{ .Values.externalDatabase.caKey }}{{ end -}}
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

{{/* Variables by which a container reaches the database: (dict "root" $ "role" "api") */}}
{{- define "orderflow.database.env" -}}
{{- $role := include "orderflow.role" . | fromYaml -}}
- name: DATABASE_URL
  value: {{ include "orderflow.database.url" .root | quote }}
- name: PGUSER
  {{- if $role.user }}
  value: {{ $role.user | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef: {name: {{ $role.secret | quote }}, key: {{ $role.userKey | quote }}}
  {{- end }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $role.secret | quote }}, key: {{ $role.key | quote }}}
- name: QUEUE_NAME
  value: {{ .root.Values.queue.name | quote }}
{{- end -}}

{{- define "orderflow.database.volumes" -}}
{{- with include "orderflow.database.ca" . }}
- name: database-ca
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "orderflow.database.mounts" -}}
{{- if include "orderflow.database.ca" . }}
- name: database-ca
  mountPath: /etc/orderflow/database-ca
  readOnly: true
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
{{- join "/" $seen | sha256sum -}}
{{- end -}}

{{- define "orderflow.postgres.pgdata" -}}
/var/lib/postgresql/pgdata
{{- end -}}
