{{/* What would publish too much, or reach nobody. */}}

{{- define "orderflow.validate.exposure" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $listed := and .Values.networkPolicy.enabled (eq .Values.networkPolicy.api.access "listed") (not .Values.networkPolicy.api.from) -}}
{{- if and $api.ingress.enabled (not $api.ingress.hosts) -}}
{{- $problems = append $problems "api.ingress.enabled is true, but api.ingress.hosts is empty: name at least one host." -}}
{{- end -}}
{{- if and $api.httpRoute.enabled (not $api.httpRoute.parentRefs) -}}
{{- $problems = append $problems "api.httpRoute.enabled is true, but api.httpRoute.parentRefs is empty: name the Gateway." -}}
{{- end -}}
{{- if and $listed (or $api.ingress.enabled $api.httpRoute.enabled (ne $api.service.type "ClusterIP")) -}}
{{- $problems = append $problems "networkPolicy.api.access is listed, but networkPolicy.api.from is empty, so what api.ingress, api.httpRoute or api.service.type lets in would not reach the api: list the controller's namespace, or set access to cluster." -}}
{{- end -}}
{{- $published := list -}}
{{- if $api.ingress.enabled -}}{{- $published = append $published "api.ingress" -}}{{- end -}}
{{- if $api.httpRoute.enabled -}}{{- $published = append $published "api.httpRoute" -}}{{- end -}}
{{- if ne $api.service.type "ClusterIP" -}}{{- $published = append $published (printf "api.service.type %s" $api.service.type) -}}{{- end -}}
{{- if and $published (not $api.tokens.enabled) (not $api.allowAnonymous) -}}
{{- $problems = append $problems (printf "%s would publish an api that everybody can create and read orders with: set api.tokens.enabled to true, or, if something before it asks who is calling, api.allowAnonymous." (join " and " $published)) -}}
{{- end -}}
{{- if and $api.tokens.existingSecret (not $api.tokens.enabled) -}}
{{- $problems = append $problems "api.tokens.existingSecret is set, but api.tokens.enabled is false, so nobody would be asked for a token: set it to true, or remove the Secret." -}}
{{- end -}}
{{- if and $api.tokens.enabled $api.allowAnonymous -}}
{{- $problems = append $problems "api.allowAnonymous is true while api.tokens.enabled is true: which of the two is meant?" -}}
{{- end -}}
{{- if and .Values.metrics.monitors.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metrics.from) -}}
{{- $problems = append $problems "metrics.monitors.enabled is true, but networkPolicy.metrics.from is empty, so Prometheus would not reach the metrics: name its namespace there." -}}
{{- end -}}
{{- if and $api.service.nodePort (eq $api.service.type "ClusterIP") -}}
{{- $problems = append $problems "api.service.nodePort is set, but api.service.type is ClusterIP: set the type to NodePort or LoadBalancer, or remove nodePort." -}}
{{- end -}}
{{- if and (eq .Values.consumer.handler "webhook") (not .Values.receiver.enabled) .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.consumer) -}}
{{- $problems = append $problems "networkPolicy.egress.enabled is true, but networkPolicy.egress.consumer is empty, so the consumer could not reach consumer.webhook.url: allow it there." -}}
{{- end -}}
{{- range $component := list "api" "consumer" -}}
{{- $of := index $.Values $component -}}
{{- $budget := $of.podDisruptionBudget -}}
{{- if and $budget.enabled (not (kindIs "invalid" $budget.minAvailable)) -}}
{{- $pods := include "orderflow.fewestPods" (dict "of" $of) | int64 -}}
{{- $text := toString $budget.minAvailable -}}
{{- /* Kubernetes rounds a share up. */ -}}
{{- $stay := ternary (ceil (divf (mulf $pods (trimSuffix "%" $text)) 100)) (float64 $budget.minAvailable) (hasSuffix "%" $text) -}}
{{- if ge $stay (float64 $pods) -}}
{{- $problems = append $problems (printf "%s.podDisruptionBudget.minAvailable is %v, and there are %d pods%s, so that no node could be drained: lower it, or set podDisruptionBudget.enabled to false." $component $budget.minAvailable $pods (ternary "" " at times" (eq $of.autoscaling.mode "none"))) -}}
{{- end -}}
{{- else if and $budget.enabled (regexMatch "^0+%?$" (toString $budget.maxUnavailable)) -}}
{{- $problems = append $problems (printf "%s.podDisruptionBudget.maxUnavailable is %v, with which no node could be drained: set it to 1 or more, or podDisruptionBudget.enabled to false." $component $budget.maxUnavailable) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^[0-9]" (include "orderflow.fullname" .) -}}
{{- $problems = append $problems (printf "the objects would be named %s-…, and a Service's name must not begin with a digit: set fullnameOverride." (include "orderflow.fullname" .)) -}}
{{- end -}}
{{- if and .Values.serviceAccount.name (eq .Values.serviceAccount.name "default") .Values.serviceAccount.create -}}
{{- $problems = append $problems "serviceAccount.name is default, which every namespace has: set serviceAccount.create to false to use it." -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
