{{/* What does not go together among the settings of a service. */}}

{{- define "orderflow.validate.api" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $request := include "orderflow.ms" $api.requestTimeout | int64 -}}
{{- $drain := include "orderflow.ms" $api.drainTimeout | int64 -}}
{{- $delay := include "orderflow.ms" $api.shutdownDelay | int64 -}}
{{- $grace := mul (include "orderflow.api.grace" .) 1000 -}}
{{- if ge (add $delay $drain) $grace -}}
{{- $problems = append $problems (printf "api.terminationGracePeriodSeconds (%v) must be more than api.shutdownDelay (%s) + api.drainTimeout (%s): raise it, or leave it empty to have it derived." $api.terminationGracePeriodSeconds $api.shutdownDelay $api.drainTimeout) -}}
{{- end -}}
{{- if gt $request $drain -}}
{{- $problems = append $problems (printf "api.requestTimeout (%s) must not be more than api.drainTimeout (%s), or a request under way is cut off at shutdown: lower the first or raise the second." $api.requestTimeout $api.drainTimeout) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.consumer" -}}
{{- $problems := list -}}
{{- $consumer := .Values.consumer -}}
{{- $visibility := mul $consumer.visibilityTimeout 1000 -}}
{{- $handler := div (mul $visibility 8) 10 -}}
{{- if $consumer.handlerTimeout -}}
{{- $handler = include "orderflow.ms" $consumer.handlerTimeout | int64 -}}
{{- if le $handler 0 -}}
{{- $problems = append $problems (printf "consumer.handlerTimeout (%s) must be more than 0: leave it empty for 80 %% of consumer.visibilityTimeout." $consumer.handlerTimeout) -}}
{{- else if ge $handler $visibility -}}
{{- $problems = append $problems (printf "consumer.handlerTimeout (%s) must be less than consumer.visibilityTimeout (%v s): lower the first or raise the second." $consumer.handlerTimeout $consumer.visibilityTimeout) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $consumer.handler "simulate") (ge (include "orderflow.ms" $consumer.simulate.work | int64) $handler) -}}
{{- $problems = append $problems (printf "consumer.simulate.work (%s) must be less than the time of one attempt (%v ms: consumer.handlerTimeout, or 80 %% of consumer.visibilityTimeout), or no order ever completes: lower it or raise consumer.visibilityTimeout." $consumer.simulate.work $handler) -}}
{{- end -}}
{{- if and (eq $consumer.handler "own") (not $consumer.image) -}}
{{- $problems = append $problems "consumer.image is empty, but consumer.handler is own: set it to the image of the program that has your handler (docs/handlers.md)." -}}
{{- end -}}
{{- if and (eq $consumer.handler "sql") (not $consumer.sql.function) -}}
{{- $problems = append $problems "consumer.sql.function is empty, but consumer.handler is sql: set it to the function that does the work of an order, such as shop.fulfil." -}}
{{- else if and (ne $consumer.handler "sql") $consumer.sql.function -}}
{{- $problems = append $problems (printf "consumer.sql.function is set, but consumer.handler is %s: set consumer.handler to sql, or remove consumer.sql.function." $consumer.handler) -}}
{{- end -}}
{{- /* After the drain the consumer writes its last acks, for 5 s at most. */ -}}
{{- if ge (add (include "orderflow.ms" $consumer.drainTimeout) 5000) (mul (include "orderflow.consumer.grace" .) 1000) -}}
{{- $problems = append $problems (printf "consumer.terminationGracePeriodSeconds (%v) must be more than consumer.drainTimeout (%s) + 5 s for the last acks: raise it, or leave it empty to have it derived." $consumer.terminationGracePeriodSeconds $consumer.drainTimeout) -}}
{{- end -}}
{{- $problems = concat $problems (include "orderflow.validate.webhook" (ternary (dict "handler" $consumer.handler "webhook" (merge (include "orderflow.receiver.webhook" . | fromYaml) $consumer.webhook)) $consumer (and .Values.receiver.enabled (eq $consumer.handler "webhook"))) | fromYamlArray) (include "orderflow.validate.receiver" . | fromYamlArray) (include "orderflow.validate.tracing" . | fromYamlArray) -}}
{{- if gt (include "orderflow.ms" $consumer.backoff.base | int64) (include "orderflow.ms" $consumer.backoff.max | int64) -}}
{{- $problems = append $problems (printf "consumer.backoff.base (%s) must not be more than consumer.backoff.max (%s): lower the first or raise the second." $consumer.backoff.base $consumer.backoff.max) -}}
{{- end -}}
{{- if gt (include "orderflow.ms" $consumer.breaker.probeInterval | int64) (include "orderflow.ms" $consumer.breaker.probeMax | int64) -}}
{{- $problems = append $problems (printf "consumer.breaker.probeInterval (%s) must not be more than consumer.breaker.probeMax (%s): lower the first or raise the second." $consumer.breaker.probeInterval $consumer.breaker.probeMax) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.autoscaling" -}}
{{- $problems := list -}}
{{- range $component := list "api" "consumer" -}}
{{- $of := index $.Values $component -}}
{{- $mode := $of.autoscaling.mode -}}
{{- if ne $mode "none" -}}
{{- if not (kindIs "invalid" $of.replicas) -}}
{{- $problems = append $problems (printf "%s.replicas is fixed at %v while %s.autoscaling.mode is %s, which decides the number: leave %s.replicas empty, or set the mode to none." $component $of.replicas $component $mode $component) -}}
{{- end -}}
{{- if gt (int64 $of.autoscaling.minReplicas) (int64 $of.autoscaling.maxReplicas) -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas (%v) must not be more than maxReplicas (%v): lower the first or raise the second." $component $of.autoscaling.minReplicas $of.autoscaling.maxReplicas) -}}
{{- end -}}
{{- end -}}
{{- if eq $mode "hpa" -}}
{{- if lt (int64 $of.autoscaling.minReplicas) 1 -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas must be at least 1 with mode hpa: only keda scales to 0." $component) -}}
{{- end -}}
{{- $hpa := $of.autoscaling.hpa | default dict -}}
{{- $cpu := $of.autoscaling.targetCPU | default $hpa.targetCPU -}}
{{- if not (or $cpu $hpa.metrics) -}}
{{- $problems = append $problems (printf "%s.autoscaling.mode is hpa, but nothing says by what: set %s.autoscaling.hpa.metrics to a metric that follows the work, or, where handlers compute rather than wait, hpa.targetCPU; or use keda." $component $component) -}}
{{- end -}}
{{- if and $cpu (not (($of.resources | default dict).requests | default dict).cpu) -}}
{{- $problems = append $problems (printf "%s.autoscaling.mode is hpa on CPU, but %s.resources.requests.cpu is empty: set the request that the target is a percentage of." $component $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "orderflow.validate.loadgen" -}}
{{- $problems := list -}}
{{- $loadgen := .Values.loadgen -}}
{{- if $loadgen.enabled -}}
{{- if and $loadgen.stages (or $loadgen.duration (float64 $loadgen.rate)) -}}
{{- $problems = append $problems "loadgen.stages already says rate and duration: remove loadgen.rate and loadgen.duration, or loadgen.stages." -}}
{{- end -}}
{{- range $key := list "duration" "stages" -}}
{{- $sent := index $loadgen $key -}}
{{- if and $sent (ge (include "orderflow.seconds" $sent | int64) (int64 $loadgen.activeDeadlineSeconds)) -}}
{{- $problems = append $problems (printf "loadgen.activeDeadlineSeconds (%d) must be more than loadgen.%s (%s) takes, or the Job is ended before its audit: raise it." (int64 $loadgen.activeDeadlineSeconds) $key $sent) -}}
{{- end -}}
{{- end -}}
{{- if and $loadgen.apiUrl .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.loadgen) -}}
{{- $problems = append $problems "networkPolicy.egress.enabled is true, but networkPolicy.egress.loadgen is empty, so the load generator could not reach loadgen.apiUrl: allow it there." -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Durations that a service would refuse at its start; numbers have their ranges in the schema. */}}
{{- define "orderflow.validate.ranges" -}}
{{- $problems := list -}}
{{- $api := .Values.api -}}
{{- $consumer := .Values.consumer -}}
{{- range list
  (list "api.requestTimeout" $api.requestTimeout "100ms" "1m")
  (list "api.shutdownDelay" $api.shutdownDelay "0s" "10m")
  (list "api.drainTimeout" $api.drainTimeout "0s" "10m")
  (list "consumer.drainTimeout" $consumer.drainTimeout "0s" "1h")
  (list "consumer.pollInterval" $consumer.pollInterval "10ms" "5m")
  (list "consumer.simulate.work" $consumer.simulate.work "0s" "1h")
  (list "consumer.backoff.base" $consumer.backoff.base "1ms" "1h")
  (list "consumer.backoff.max" $consumer.backoff.max "1ms" "24h")
  (list "consumer.breaker.probeInterval" $consumer.breaker.probeInterval "10ms" "10m")
  (list "consumer.breaker.probeMax" $consumer.breaker.probeMax "10ms" "10m")
  (list "loadgen.duration" .Values.loadgen.duration "0s" "720h") -}}
{{- $ms := include "orderflow.ms" (index . 1) | int64 -}}
{{- if or (lt $ms (include "orderflow.ms" (index . 2) | int64)) (gt $ms (include "orderflow.ms" (index . 3) | int64)) -}}
{{- $problems = append $problems (printf "%s (%s) must be from %s to %s." (index . 0) (index . 1) (index . 2) (index . 3)) -}}
{{- end -}}
{{- end -}}
{{- /* `--set` makes texts of numbers with a point, whose size a schema cannot compare. */ -}}
{{- range list
  (list "consumer.backoff.multiplier" $consumer.backoff.multiplier 1 10)
  (list "consumer.breaker.share" $consumer.breaker.share 0 1)
  (list "loadgen.rate" .Values.loadgen.rate 0 1000000)
  (list "tracing.ratio" .Values.tracing.ratio 0 1) -}}
{{- if or (lt (float64 (index . 1)) (float64 (index . 2))) (gt (float64 (index . 1)) (float64 (index . 3))) -}}
{{- $problems = append $problems (printf "%s (%v) must be from %v to %v." (index . 0) (index . 1) (index . 2) (index . 3)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $keep := $api.retention -}}
{{- $ms := include "orderflow.ms" $keep | int64 -}}
{{- if and (ne $ms 0) (or (lt $ms 60000) (gt $ms (include "orderflow.ms" "876000h" | int64))) -}}
{{- $problems = append $problems (printf "api.retention.%s (%s) must be 0s, for ever, or from 1m to 876000h." $name $keep) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Memory limits of the services: a Go heap of nothing collects without end. */}}
{{- define "orderflow.validate.memory" -}}
{{- $problems := list -}}
{{- range $component := list "api" "consumer" "loadgen" -}}
{{- with (((index $.Values $component).resources | default dict).limits | default dict).memory -}}
{{- if lt (include "orderflow.mib" . | int64) 16 -}}
{{- $problems = append $problems (printf "%s.resources.limits.memory (%s%s) is less than a service starts with: set it to 16Mi or more (64Mi is a good beginning), or remove it." $component (include "orderflow.quantity" .) (ternary " bytes" "" (regexMatch "^[0-9.]+$" (include "orderflow.quantity" .)))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
