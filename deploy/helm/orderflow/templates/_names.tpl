{{/*
Names, labels and images. Names are cut at 40 characters, so that every suffix
that Kubernetes and this chart append (a StatefulSet's revision label, a Job's
hash) still fits into 63; what is cut is replaced by a hash, so that two long
release names never meet.
*/}}

{{- define "orderflow.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "orderflow.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := include "orderflow.name" . -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- end -}}
{{- $name = $name | lower | replace "." "-" -}}
{{- if gt (len $name) 40 -}}
{{- printf "%s-%s" ($name | trunc 32 | trimSuffix "-") (sha256sum $name | trunc 7) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* What a Service, a Deployment and a policy select by: (dict "root" $ "component" "api") */}}
{{- define "orderflow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "orderflow.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/*
Labels of an object. Pods get the selector's only: a chart version in their
labels would restart all of them with every new chart.
(dict "root" $ "component" "api" "more" <labels of this object's own>)
*/}}
{{- define "orderflow.labels" -}}
{{ include "orderflow.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "orderflow.name" .root }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with mergeOverwrite (dict) (.root.Values.commonLabels | default dict) (.more | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: (dict "root" $ "component" "api" "labels" .Values.api.podLabels) */}}
{{- define "orderflow.podLabels" -}}
{{ include "orderflow.selectorLabels" . }}
{{- with mergeOverwrite (dict) (.root.Values.commonLabels | default dict) (.labels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "orderflow.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "orderflow.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* Image of a service: (dict "root" $ "service" "api") */}}
{{- define "orderflow.image" -}}
{{- $own := (index .root.Values .service).image -}}
{{- if $own -}}
{{- include "orderflow.registry" (dict "root" .root "image" $own) -}}
{{- else -}}
{{- $image := .root.Values.image -}}
{{- $path := printf "%s/%s:%s" $image.repository .service ($image.tag | default .root.Chart.AppVersion) -}}
{{- with index $image.digests .service -}}{{- $path = printf "%s@%s" $path . -}}{{- end -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry | default $image.registry -}}
{{- ternary (printf "%s/%s" $registry $path) $path (ne $registry "") -}}
{{- end -}}
{{- end -}}

{{/* A whole image reference, its registry replaced by global.imageRegistry: (dict "root" $ "image" <reference>) */}}
{{- define "orderflow.registry" -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry -}}
{{- $path := regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" .image "" -}}
{{- ternary (printf "%s/%s" $registry $path) .image (ne ($registry | default "") "") -}}
{{- end -}}

{{- define "orderflow.api.url" -}}
{{- .Values.loadgen.apiUrl | default (printf "http://%s-api:%d" (include "orderflow.fullname" .) (int .Values.api.service.port)) -}}
{{- end -}}
