{{/*
What a schema cannot say, or not so that one knows what to do: values that are
right alone and wrong together. Each problem is a sentence that says what to
change; all of them are told at once. A schema with if and then would say "at
'/api/ingress/hosts': minItems: got 0, want 1", neither under which condition
nor what else would help, and Helm would not come to the sentences after it.
*/}}
{{- define "orderflow.validate" -}}
{{- /*
Not Chart.yaml's kubeVersion: a Helm that was built without link-time flags (go
install) takes v1.20.0 for the version of a cluster that it has not asked.
*/ -}}
{{- $kubernetes := .Capabilities.KubeVersion.Version -}}
{{- if and (semverCompare "<1.27.0-0" $kubernetes) (ne $kubernetes "v1.20.0") -}}
{{- fail (printf "orderflow needs Kubernetes 1.27 or newer, and this cluster is %s." $kubernetes) -}}
{{- end -}}
{{- $problems := include "orderflow.validate.names" . | fromYamlArray -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values have other names in this chart:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- $problems = concat
  (include "orderflow.validate.api" . | fromYamlArray)
  (include "orderflow.validate.consumer" . | fromYamlArray)
  (include "orderflow.validate.autoscaling" . | fromYamlArray)
  (include "orderflow.validate.loadgen" . | fromYamlArray)
  (include "orderflow.validate.rendering" . | fromYamlArray)
  (include "orderflow.validate.database" . | fromYamlArray)
  (include "orderflow.validate.exposure" . | fromYamlArray)
  (include "orderflow.validate.memory" . | fromYamlArray)
  (include "orderflow.validate.ranges" . | fromYamlArray)
  (include "orderflow.validate.metadata" . | fromYamlArray)
  (include "orderflow.validate.volumes" . | fromYamlArray)
  (include "orderflow.validate.env" . | fromYamlArray) -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values do not go together:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{/* Names by which other charts know a value of ours. */}}
{{- define "orderflow.validate.names" -}}
{{- $problems := list -}}
{{- range $name, $instead := .Files.Get "files/instead.json" | fromJson -}}
{{- $at := $.Values -}}
{{- range splitList "." $name -}}
{{- $at = ternary (get ($at | default dict) .) nil (kindIs "map" ($at | default dict)) -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $at) (eq (toString $at) "")) -}}
{{- $problems = append $problems (printf "%s: use %s." $name $instead) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* What the rendering itself shows: whether there is a cluster to look things up in, and where its images come from. */}}
{{- define "orderflow.validate.rendering" -}}
{{- $problems := list -}}
{{- $fullname := include "orderflow.fullname" . -}}
{{- if and .Values.secrets.generate .Release.IsUpgrade (not (lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-api" $fullname))) -}}
{{- range $name := include "orderflow.generatedSecrets" . | fromYamlArray -}}
{{- if not (lookup "v1" "Secret" $.Release.Namespace $name) -}}
{{- $problems = append $problems (printf "this upgrade sees neither the Deployment %s-api nor the Secret %s, so it would draw new passwords over those in use. Rendered without the cluster (helm template, GitOps): set secrets.generate to false, and make the Secrets yourself; the chart's README says which. After a deletion by hand: helm uninstall, and install again." $fullname $name) -}}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $image := .Values.image -}}
{{- if and (eq $image.registry "orderflow.example") (not (.Values.global | default dict).imageRegistry) (ne $image.pullPolicy "Never") .Release.IsInstall -}}
{{- range (lookup "v1" "Node" "" "").items -}}
{{- if not (hasPrefix "kind://" (.spec.providerID | default "")) -}}
{{- $problems = append $problems (printf "image.registry is orderflow.example, a name that nobody can own, and the node %s is no kind node that `make kind-up` has loaded the images into: `make push IMAGES=…` and set image.registry and image.repository, or, where the nodes have the images already, set image.pullPolicy to Never." .metadata.name) -}}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
