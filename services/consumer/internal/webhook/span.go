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
// than the host: the rest may be secret. Names are those of OpenTelemetry's conventions
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), also what stands for what is left out.
func begin(ctx context.Context, call *http.Request) trace.Span {
	handling := trace.SpanFromContext(ctx)
	if !handling.IsRecording() {
		return nil
	}
	_, span := handling.TracerProvider().Tracer("orderflow.example").Start(ctx, http.MethodPost, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", http.MethodPost), attribute.String("server.address", call.URL.Hostname()),
	))
	port, err := strconv.Atoi(call.URL.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[call.URL.Scheme]
	}
	full := call.URL.Scheme + "://" + call.URL.Host + "/"
	if call.URL.Path != "" && call.URL.Path != "/" || call.URL.RawQuery != "" {
		full += "REDACTED"
	}
	span.SetAttributes(attribute.Int("server.port", port), attribute.String("url.full", full))
	call.Header.Set("Traceparent", tracing.Format(span.SpanContext()))
	return span
}

// end ends it, with the answer's status.
func (s *sender) end(span trace.Span, answer *http.Response, err error) {
	switch {
	case span == nil:
		return
	case err != nil:
		tracing.Fail(span, "no_answer", s.hide.clean(unaddressed(err), false))
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", answer.StatusCode))
		if answer.StatusCode >= http.StatusBadRequest {
			tracing.Fail(span, strconv.Itoa(answer.StatusCode), "")
		}
	}
	span.End()
}
