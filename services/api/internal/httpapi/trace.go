package httpapi

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/orders"
)

// requestTrace is a request's place in a distributed trace (W3C Trace Context). What it hands on bears the caller's trace id, and the id of the
// request's span where there is one.
type requestTrace struct {
	context  trace.SpanContext
	span     trace.Span // nil: the trace is not recorded
	followed bool       // the caller has begun the trace
	decided  bool       // this service decides on traces
}

// traceKey is where a request's trace is kept once it was asked for.
const traceKey = "trace"

// traceOf continues the trace of the request's traceparent header, or begins one. The request's span begins when it is first asked for.
func (s *Server) traceOf(c *fiber.Ctx) requestTrace {
	if t, ok := c.Locals(traceKey).(requestTrace); ok {
		return t
	}
	tracer := s.cfg.Tracer
	if isProbe(c.Path()) {
		tracer = nil // one every few seconds, of each pod, that nobody looks at
	}
	from := tracing.Parse(c.Request().Header.Peek("traceparent"))
	t := requestTrace{followed: from.IsValid(), decided: tracer != nil}
	t.context, t.span = tracer.Begin(from, methodLabel(c.Method()), trace.SpanKindServer, time.Now())
	c.Locals(traceKey, t)
	return t
}

func isProbe(path string) bool { return path == "/health" || path == "/livez" || path == "/readyz" }

// id is the trace id, for people.
func (t requestTrace) id() string { return t.context.TraceID().String() }

// recorded is the trace id, if the trace is recorded; else it is empty.
func (t requestTrace) recorded() string {
	if t.span == nil {
		return ""
	}
	return t.id()
}

// end ends the request's span, if there is one.
func (t requestTrace) end(c *fiber.Ctx, route string) {
	if t.span == nil {
		return
	}
	method, name, status := methodLabel(c.Method()), methodLabel(c.Method()), c.Response().StatusCode()
	if method == otherMethod {
		method, name = "_OTHER", "HTTP" // as the conventions call what is none (https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
	}
	if route != noRoute { // else the span has none, and is named after its method alone
		name += " " + route
		t.span.SetAttributes(attribute.String("http.route", route))
	}
	t.span.SetName(name)
	t.span.SetAttributes(
		attribute.String("http.request.method", method), attribute.String("url.path", string(c.Request().URI().Path())),
		attribute.String("url.scheme", "http"), attribute.Int("http.response.status_code", status),
	)
	if status >= 500 { // what a client has done wrong is no failure of the server's
		tracing.Fail(t.span, strconv.Itoa(status), "")
	}
	t.span.End()
}

// traceOrders puts into a request for the writer what the orders' messages bear of its trace:
//   - a trace that is recorded: a span of the orders' own, which begins here;
//   - one that the caller has begun: that;
//   - one that was only made for this request's answer and log lines: nothing, because its id means nothing to others. Where this service
//     decides on traces, the messages say that it has decided against, or consumers would decide anew.
func (s *Server) traceOrders(t requestTrace, request *orders.Request) {
	request.Trace = t.context
	switch {
	case t.followed:
		request.Traceparent = tracing.Format(t.context)
	case t.decided:
		request.Traceparent = orders.Unsampled
	}
	if t.span != nil {
		queue := s.cfg.Queue.Name()
		span := s.cfg.Tracer.Below(t.span, "create "+queue, trace.SpanKindProducer, time.Now(), tracing.Operation(queue, "create", "create")...)
		request.Traceparent, request.Span = tracing.Format(span.SpanContext()), span
	}
}

// endOrders ends the span that traceOrders has begun, if it has.
func endOrders(span trace.Span, result *orders.Result, err error) {
	switch {
	case span == nil:
		return
	case err != nil:
		tracing.Fail(span, strconv.Itoa(toProblem(err).Status), err.Error())
	case len(result.Orders) == 1:
		span.SetAttributes(attribute.Int64("orderflow.order.id", result.Orders[0].ID), tracing.MessageID(result.Orders[0].MessageID))
	default:
		span.SetAttributes(tracing.Messages(len(result.Orders))...)
	}
	if result.Replayed {
		span.SetAttributes(attribute.Bool("orderflow.replayed", true))
	}
	span.End()
}
