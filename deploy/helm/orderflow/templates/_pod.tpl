{{/* What the pods of the three services have in common. */}}

{{/* Pod level, satisfies Pod Security "restricted". Our images run as 65532, nobody's user. */}}
{{- define "orderflow.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Container level, the database's too. */}}
{{- define "orderflow.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* First lines of each pod spec; no pod talks to the Kubernetes API or needs the services' addresses as variables. */}}
{{- define "orderflow.podBase" -}}
serviceAccountName: {{ include "orderflow.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "orderflow.pullSecrets" . }}
{{- end -}}

{{/* Where pods may run: (dict "root" $ "component" "api" "of" .Values.api "spread" true) */}}
{{- define "orderflow.scheduling" -}}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if .spread }}
topologySpreadConstraints:
{{- if .of.topologySpreadConstraints }}
  {{- toYaml .of.topologySpreadConstraints | nindent 2 }}
{{- else }}
  {{- /* ScheduleAnyway: a cluster of one node runs everything. matchLabelKeys counts only the pods of one revision, so a rolling update ends as even as it began. */}}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "orderflow.selectorLabels" (dict "root" $.root "component" $.component) | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Variables that all three read: (dict "root" $ "of" .Values.api) */}}
{{- define "orderflow.commonEnv" -}}
- name: LOG_LEVEL
  value: {{ .root.Values.log.level }}
- name: LOG_FORMAT
  value: {{ .root.Values.log.format }}
{{- with ((.of.resources | default dict).limits | default dict).memory }}
{{- /* Collect more often before the kernel kills; the last tenth is for what the Go heap does not count. */}}
- name: GOMEMLIMIT
  value: {{ printf "%dMiB" (div (mul (include "orderflow.mib" .) 9) 10) }}
{{- end }}
{{- end -}}

{{/* Variables of the user's, last; refused by orderflow.validate where the chart sets them. */}}
{{- define "orderflow.extraEnv" -}}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
