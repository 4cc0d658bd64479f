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

// place is a request's place in a distributed trace (W3C Trace Context). What it hands on bears the caller's trace id, and the id of the
// request's span where there is one.
type place struct {
	context  trace.SpanContext
	span     trace.Span // nil: the trace is not recorded
	followed bool       // the caller has begun the trace
	decided  bool       // this service decides on traces
}

// placeKey is where a request's trace is kept once it was asked for.
const placeKey = "trace"

// traceOf continues the trace of the request's traceparent header, or begins one. Who asks first decides when the request's span begins.
func (s *Server) traceOf(c *fiber.Ctx) place { return s.beginTrace(c, time.Now()) }

func (s *Server) beginTrace(c *fiber.Ctx, at time.Time) place {
	if p, ok := c.Locals(placeKey).(place); ok {
		return p
	}
	tracer := s.cfg.Tracer
	if isProbe(c.Path()) {
		tracer = nil // one every few seconds, of each pod, that nobody looks at
	}
	from := tracing.Parse(c.Request().Header.Peek("traceparent"))
	p := place{followed: from.IsValid(), decided: tracer != nil}
	p.context, p.span = tracer.Begin(from, known(c.Method()), trace.SpanKindServer, at)
	c.Locals(placeKey, p)
	return p
}

// id is the trace id, for people.
func (p place) id() string { return p.context.TraceID().String() }

// recorded is the trace id, if the trace is recorded; else it is empty.
func (p place) recorded() string {
	if p.span == nil {
		return ""
	}
	return p.id()
}

// end ends the request's span, if there is one.
func (p place) end(c *fiber.Ctx, route string) {
	if p.span == nil {
		return
	}
	method, name, status := known(c.Method()), known(c.Method()), c.Response().StatusCode()
	if method == otherMethod {
		method, name = "_OTHER", "HTTP" // as the conventions call what is none (https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
	}
	if route != noRoute { // else the span has none, and is named after its method alone
		name += " " + route
		p.span.SetAttributes(attribute.String("http.route", route))
	}
	p.span.SetName(name)
	p.span.SetAttributes(
		attribute.String("http.request.method", method), attribute.String("url.path", string(c.Request().URI().Path())),
		attribute.String("url.scheme", "http"), attribute.Int("http.response.status_code", status),
	)
	if status >= 500 { // what a client has done wrong is no failure of the server's
		tracing.Fail(p.span, strconv.Itoa(status), "")
	}
	p.span.End()
}

// writeTraced writes a request's orders, as a span of its own: its context is what their messages bear. Those of a trace that nobody follows bear
// none: its id was made for this request's answer and log lines, and means nothing to others. Where it is this service that has decided so, they
// say that much, because consumers would decide anew.
func (s *Server) writeTraced(c *fiber.Ctx, request orders.Request) (orders.Result, error) {
	p := s.traceOf(c)
	request.Trace = p.context
	switch {
	case p.followed:
		request.Traceparent = tracing.Format(p.context)
	case p.decided:
		request.Traceparent = orders.Unsampled
	}
	if p.span == nil {
		return s.cfg.Writer.Write(request)
	}
	queue := s.cfg.Queue.Name()
	span := s.cfg.Tracer.Below(p.span, "create "+queue, trace.SpanKindProducer, time.Now(), tracing.Operation(queue, "create", "create")...)
	defer span.End()
	request.Traceparent, request.Span = tracing.Format(span.SpanContext()), span
	result, err := s.cfg.Writer.Write(request)
	if err != nil {
		tracing.Fail(span, strconv.Itoa(toProblem(err).Status), err.Error())
		return result, err
	}
	if len(result.Orders) == 1 {
		span.SetAttributes(attribute.Int64("orderflow.order.id", result.Orders[0].ID), tracing.MessageID(result.Orders[0].MessageID))
	} else {
		span.SetAttributes(tracing.Messages(len(result.Orders))...)
	}
	if result.Replayed {
		span.SetAttributes(attribute.Bool("orderflow.replayed", true))
	}
	return result, nil
}
