{{/*
Numbers out of values: durations as Go writes them, Kubernetes quantities,
and how many pods and connections there can be.
*/}}

{{/* Milliseconds of a Go duration, rounded down: "1m30s" is 90000. */}}
{{- define "orderflow.ms" -}}
{{- $total := 0.0 -}}
{{- $units := dict "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|s|m|h)" (toString .) -1 -}}
{{- $total = addf $total (mulf (regexFind "^[0-9.]+" .) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- int64 (floor $total) -}}
{{- end -}}

{{/* Seconds of a Go duration, rounded up. */}}
{{- define "orderflow.seconds" -}}
{{- ceil (divf (include "orderflow.ms" .) 1000) | int64 -}}
{{- end -}}

{{/* A quantity as text. A number out of a values file is a float, which would be printed as 1.073741824e+09. */}}
{{- define "orderflow.quantity" -}}
{{- if kindIs "float64" . -}}{{- printf "%.0f" . -}}{{- else -}}{{- toString . -}}{{- end -}}
{{- end -}}

{{/* MiB of a Kubernetes quantity of bytes, rounded down: "1Gi" is 1024, "500M" is 476. */}}
{{- define "orderflow.mib" -}}
{{- $units := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 -}}
{{- $text := include "orderflow.quantity" . -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "%q is not a quantity of bytes that this chart understands: write it like 512Mi, 2Gi or 1G" $text) -}}
{{- end -}}
{{- floor (divf (mulf (regexFind "^[0-9.]+" $text) (get $units $unit)) 1048576) | int64 -}}
{{- end -}}

{{/* Pods of api or consumer when nothing scales them: (dict "of" .Values.api) */}}
{{- define "orderflow.replicas" -}}
{{- if kindIs "invalid" .of.replicas -}}2{{- else -}}{{ int64 .of.replicas }}{{- end -}}
{{- end -}}

{{/* The fewest pods of api or consumer that there are, when there are any: (dict "of" .Values.api) */}}
{{- define "orderflow.fewestPods" -}}
{{- max 1 (ternary (include "orderflow.replicas" . | int64) (int64 .of.autoscaling.minReplicas) (eq .of.autoscaling.mode "none")) -}}
{{- end -}}

{{/*
The replicas of a Deployment as a line, or nothing: (dict "root" $ "component" "api").
Where an autoscaler decides, its number as it is now is written down again. Left
out, Kubernetes would make it 1 in the upgrade that hands a fixed number over,
until the autoscaler acts. A first install, and a rendering without a cluster,
leave it out.
*/}}
{{- define "orderflow.replicasLine" -}}
{{- $of := index .root.Values .component -}}
{{- if eq $of.autoscaling.mode "none" -}}
replicas: {{ include "orderflow.replicas" (dict "of" $of) }}
{{- else -}}
{{- with (lookup "apps/v1" "Deployment" .root.Release.Namespace (printf "%s-%s" (include "orderflow.fullname" .root) .component)) -}}
{{- $now := int64 .spec.replicas -}}
replicas: {{ min (max $now (int64 $of.autoscaling.minReplicas)) (int64 $of.autoscaling.maxReplicas) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The most pods of api or consumer there can be, during a rolling update (a quarter more, rounded up). */}}
{{- define "orderflow.mostPods" -}}
{{- $most := ternary (include "orderflow.replicas" . | int64) (int64 .of.autoscaling.maxReplicas) (eq .of.autoscaling.mode "none") -}}
{{- add $most (ceil (divf $most 4)) -}}
{{- end -}}

{{/*
Connections that this release can have open at once: the pools' pods at their
most, one more for the migration in every starting api pod, KEDA, a doctor, a
person. A consumer has no pool but a connection each for reading, writing back,
extending leases, listening and watching, and those of the work that is done
with the ack.
*/}}
{{- define "orderflow.neededConnections" -}}
{{- $api := include "orderflow.mostPods" (dict "of" .Values.api) | int64 -}}
{{- $consumers := include "orderflow.mostPods" (dict "of" .Values.consumer) | int64 -}}
{{- $work := ternary .Values.consumer.sql.connections 0 (has .Values.consumer.handler (list "sql" "own")) -}}
{{- add (mul $api (add .Values.api.databaseConnections 1)) (mul $consumers (add 5 $work)) 5 -}}
{{- end -}}

{{/* Grace periods: what the drain needs, and a margin for the last ack and the exit. */}}
{{- define "orderflow.api.grace" -}}
{{- .Values.api.terminationGracePeriodSeconds | default (add (include "orderflow.seconds" .Values.api.shutdownDelay) (include "orderflow.seconds" .Values.api.drainTimeout) 5) -}}
{{- end -}}

{{- define "orderflow.consumer.grace" -}}
{{- .Values.consumer.terminationGracePeriodSeconds | default (add (include "orderflow.seconds" .Values.consumer.drainTimeout) 10) -}}
{{- end -}}

{{/* Size of Postgres' volume: what an existing claim asks for, where that can be looked up, or postgres.storage.size. */}}
{{- define "orderflow.postgres.disk" -}}
{{- $storage := .Values.postgres.storage -}}
{{- $size := $storage.size -}}
{{- with $storage.existingClaim -}}
{{- with (lookup "v1" "PersistentVolumeClaim" $.Release.Namespace .) -}}
{{- $size = .spec.resources.requests.storage -}}
{{- end -}}
{{- end -}}
{{- include "orderflow.quantity" $size -}}
{{- end -}}

{{/* MiB that Postgres may use: its memory limit, or else its request. */}}
{{- define "orderflow.postgres.memory" -}}
{{- $resources := .Values.postgres.resources | default dict -}}
{{- $memory := ($resources.limits | default dict).memory | default (($resources.requests | default dict).memory) -}}
{{- include "orderflow.mib" ($memory | default "0") -}}
{{- end -}}
