package webhook

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
)

// begin starts the span of a call, whose context the receiver gets; nil when nobody records the order's trace. Of the URL it has no more
// than the host: the rest may be secret.
func begin(ctx context.Context, call *http.Request) trace.Span {
	handling := trace.SpanFromContext(ctx)
	if !handling.IsRecording() {
		return nil
	}
	_, span := handling.TracerProvider().Tracer("orderflow.example").Start(ctx, http.MethodPost, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", http.MethodPost), attribute.String("server.address", call.URL.Hostname()),
	))
	if port, err := strconv.Atoi(call.URL.Port()); err == nil {
		span.SetAttributes(attribute.Int("server.port", port))
	}
	call.Header.Set("Traceparent", tracing.Format(span.SpanContext()))
	return span
}

// end ends it, with the answer's status.
func (s *sender) end(span trace.Span, answer *http.Response, err error) {
	switch {
	case span == nil:
		return
	case err != nil:
		tracing.Fail(span, "no_answer", s.hide.clean(unaddressed(err)))
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", answer.StatusCode))
		if answer.StatusCode >= http.StatusBadRequest {
			tracing.Fail(span, strconv.Itoa(answer.StatusCode), "")
		}
	}
	span.End()
}
