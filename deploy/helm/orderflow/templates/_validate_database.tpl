{{/* What does not go together about the database: the bundled one or another, its volume, its roles. */}}

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
{{- if and .Values.backup.enabled (hasPrefix "verify-" $external.sslmode) (not $external.caSecret) (not $external.uriKey) (not (hasKey ($external.parameters | default dict) "sslrootcert")) -}}
{{- $problems = append $problems (printf "backup.enabled is true and externalDatabase.sslmode is %s, but pg_dump, unlike the services, knows no public authorities: set externalDatabase.caSecret." $external.sslmode) -}}
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
