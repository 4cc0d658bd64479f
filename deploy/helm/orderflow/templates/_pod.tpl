{{/*
What pods and containers have in common. Whatever the user adds comes after what is the chart's own.
*/}}

{{/* Labels and annotations of a pod: (dict "root" $ "component" "api" "of" .Values.api "checksums" <lines; a change of one replaces the pods>) */}}
{{- define "orderflow.podMetadata" -}}
labels:
  {{- include "orderflow.podLabels" (dict "root" .root "component" .component "labels" .of.podLabels) | nindent 2 }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- with .checksums }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .of.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/*
A pod's spec: (dict "root" $ "component" "api" "of" .Values.api
  "init" "container" "volumes"   YAML lists of the chart's own
  "grace" <seconds>  "restartPolicy" "Never"  "spread" true, for what has several pods)
No pod talks to the Kubernetes API or needs the services' addresses as variables.
*/}}
{{- define "orderflow.podSpec" -}}
serviceAccountName: {{ include "orderflow.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with concat ((.root.Values.global | default dict).imagePullSecrets | default list) (.root.Values.image.pullSecrets | default list) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
{{- with .grace }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
{{- with .of.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "orderflow.scheduling" . | trim }}
{{ . }}
{{- end }}
{{- range $key := list "runtimeClassName" "dnsPolicy" "dnsConfig" "hostAliases" }}
{{- with index $.of $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- /* The user's first: what they fetch or wait for may be what ours needs. */}}
{{- with include "orderflow.join" (list .of.initContainers .init) }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
containers:
  {{- include "orderflow.join" (list .container .of.extraContainers) | nindent 2 }}
{{- with include "orderflow.join" (list .volumes .of.extraVolumes) }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* YAML lists, as text or as values, made one; nothing when all are empty. */}}
{{- define "orderflow.join" -}}
{{- $texts := list -}}
{{- range . -}}
{{- $text := ternary . (toYaml .) (kindIs "string" .) | trim -}}
{{- if and . $text -}}{{- $texts = append $texts $text -}}{{- end -}}
{{- end -}}
{{- join "\n" $texts -}}
{{- end -}}

{{/*
A container of a service's image, as a list of one: (dict "root" $ "of" .Values.api "service" "api" "name" "api"
  "args" (list "migrate")  "env" "mounts" "ports" <YAML lists>  "extraEnv" "envFrom" <the user's>
  "probes" <port that answers /livez and /readyz>  "resources" <of its own>)
*/}}
{{- define "orderflow.container" -}}
- name: {{ .name }}
  image: {{ include "orderflow.image" (dict "root" .root "service" .service) | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- with .args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    {{- include "orderflow.join" (list (include "orderflow.commonEnv" .) .env .extraEnv) | nindent 4 }}
  {{- with .envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .ports }}
  ports:
    {{- . | nindent 4 }}
  {{- end }}
  {{- if .probes }}
  {{- include "orderflow.probes" . | nindent 2 }}
  {{- with .of.lifecycle }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .of.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "orderflow.join" (list .mounts .of.extraVolumeMounts) }}
  volumeMounts:
    {{- . | nindent 4 }}
  {{- end }}
  resources:
    {{- toYaml (.resources | default .of.resources | default dict) | nindent 4 }}
{{- end -}}

{{/*
Liveness never asks the database: a restart would not bring that back. Readiness
does, and says no as soon as the pod is told to end; a rollout waits until the
new pods really work.
*/}}
{{- define "orderflow.probes" -}}
{{- $alive := dict "httpGet" (dict "path" "/livez" "port" .probes) -}}
{{- $ready := dict "httpGet" (dict "path" "/readyz" "port" .probes) -}}
{{- $probes := dict
  "startupProbe" (merge (dict "periodSeconds" 1 "failureThreshold" 60) $alive)
  "livenessProbe" (merge (dict "periodSeconds" 10 "timeoutSeconds" 3 "failureThreshold" 3) $alive)
  "readinessProbe" (merge (dict "periodSeconds" 2 "timeoutSeconds" 3 "failureThreshold" 3) $ready) -}}
{{- range $name, $probe := $probes -}}
{{- $own := index $.of $name | default dict -}}
{{- $_ := set $probes $name (mergeOverwrite (dict) (ternary (omit $probe "httpGet") $probe (or (hasKey $own "exec") (hasKey $own "tcpSocket") (hasKey $own "grpc"))) $own) -}}
{{- end -}}
{{- toYaml $probes -}}
{{- end -}}

{{/* Where pods may run: (dict "root" $ "component" "api" "of" .Values.api "spread" true) */}}
{{- define "orderflow.scheduling" -}}
{{- range $key := list "nodeSelector" "tolerations" "priorityClassName" }}
{{- with index $.of $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- $own := .of.topologySpreadConstraints }}
{{- $affinity := .of.affinity | default dict }}
{{- /*
Over nodes by a constraint, over zones by a preference: a node without a zone's
label has no place in a constraint on zones, and would be left out of both.
ScheduleAnyway: a cluster of one node runs everything. matchLabelKeys counts only
the pods of one revision, so that a rolling update ends as even as it began.
*/}}
{{- if and .spread (not $own) (not $affinity.podAntiAffinity) }}
{{- $selector := dict "matchLabels" (include "orderflow.selectorLabels" . | fromYaml) }}
{{- $term := dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" $selector }}
{{- $affinity = merge (dict "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 50 "podAffinityTerm" $term)))) $affinity }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .spread $own }}
topologySpreadConstraints:
  {{- toYaml $own | nindent 2 }}
{{- else if .spread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "orderflow.selectorLabels" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{/* How a Deployment replaces its pods: (dict "of" .Values.api) */}}
{{- define "orderflow.rollout" -}}
revisionHistoryLimit: {{ int64 .of.revisionHistoryLimit }}
{{- with .of.minReadySeconds }}
minReadySeconds: {{ int64 . }}
{{- end }}
strategy:
  {{- toYaml (.of.strategy | default (dict "type" "RollingUpdate" "rollingUpdate" (dict "maxSurge" "25%" "maxUnavailable" 0))) | nindent 2 }}
{{- end -}}

{{/* Metadata of an object: (dict "root" $ "component" "api" "name" <name> "labels" <its own> "annotations" <its own>) */}}
{{- define "orderflow.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "orderflow.labels" (dict "root" .root "component" .component "more" .labels) | nindent 2 }}
{{- with mergeOverwrite (dict) (.root.Values.commonAnnotations | default dict) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Variables that all three read: (dict "root" $ "of" .Values.api) */}}
{{- define "orderflow.commonEnv" -}}
- name: LOG_LEVEL
  value: {{ .root.Values.log.level }}
- name: LOG_FORMAT
  value: {{ .root.Values.log.format }}
{{- with ((.resources | default .of.resources | default dict).limits | default dict).memory }}
{{- /* Collect more often before the kernel kills; the last tenth is for what the Go heap does not count. */}}
- name: GOMEMLIMIT
  value: {{ printf "%dMiB" (div (mul (include "orderflow.mib" .) 9) 10) }}
{{- end }}
{{- end -}}
