package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/pg"
)

// spans makes those of deliveries (see docs/decisions/0014). A delivery of a trace that nobody records has none, and costs no more than
// finding that out.
type spans struct {
	tracer           *tracing.Tracer // nil: there are none
	server           *pg.Server
	queue            string
	receive, process string // names
}

func newSpans(tracer *tracing.Tracer, server *pg.Server, queue string) spans {
	return spans{tracer, server, queue, "receive " + queue, "process " + queue}
}

// begin starts the span of a delivery, which lasts from the read that leased it until its end is written; nil when nobody records it.
func (s spans) begin(m *message.Message, read time.Time) trace.Span {
	if s.tracer == nil {
		return nil
	}
	_, span := s.tracer.Begin(tracing.Parse(m.Traceparent), s.process, trace.SpanKindConsumer, read)
	if span == nil {
		return nil
	}
	span.SetAttributes(tracing.Operation(s.queue, "process", "process")...)
	span.SetAttributes(tracing.MessageID(m.ID), attribute.Int64("orderflow.order.id", m.OrderID), attribute.Int("orderflow.attempt", m.Attempt))
	return span
}

// statement is what is said of a statement for so many messages.
func (s spans) statement(name string, messages int) []attribute.KeyValue {
	return tracing.Statement(name, messages, s.server.Database(), s.server.At().Name)
}

// received makes the span of a read.
func (s spans) received(deliveries []*delivery, read time.Time) {
	if s.tracer == nil {
		return
	}
	var joined []trace.Span
	for _, d := range deliveries {
		if d.span != nil {
			joined = append(joined, d.span)
		}
	}
	if len(joined) == 0 {
		return
	}
	about := append(tracing.Operation(s.queue, "receive", "receive"), s.statement("fetch", len(deliveries))...)
	s.tracer.Join(joined, s.receive, trace.SpanKindClient, read, about...).End()
}

// handling starts the span of a delivery's handler, which the handler finds in its context.
func (s spans) handling(ctx context.Context, d *delivery, start time.Time) (context.Context, trace.Span) {
	if d.span == nil {
		return ctx, nil
	}
	span := s.tracer.Below(d.span, "handle", trace.SpanKindInternal, start, attribute.Int("orderflow.attempt", d.msg.Attempt))
	return trace.ContextWithSpan(ctx, span), span
}

// handled ends it.
func handled(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		tracing.Fail(span, "handler", err.Error())
	}
	span.End()
}

// settled makes the span of a statement that was to write how deliveries end, and below it that of its ack work.
func (s spans) settled(b batch, start time.Time, w *ackWork, err error) {
	if s.tracer == nil {
		return
	}
	var joined []trace.Span
	for i := range b.items {
		if span := b.items[i].delivery.span; span != nil {
			joined = append(joined, span)
		}
	}
	if len(joined) == 0 {
		return
	}
	o := b.statement.op().String()
	about := append(tracing.Operation(s.queue, "settle", o), s.statement(b.statement.String(), len(b.items))...)
	span := s.tracer.Join(joined, o+" "+s.queue, trace.SpanKindClient, start, about...)
	if w != nil && w.began.After(start) {
		s.tracer.Below(span, "work", trace.SpanKindInternal, w.began).End(trace.WithTimestamp(w.ended))
	}
	if err != nil {
		tracing.Refused(span, "", err)
	}
	span.End()
}

// end ends the span of a delivery. outcome is what became of it: how it was settled, or lost.
func (d *delivery) end(outcome string, how ending) {
	if d.span == nil {
		return
	}
	d.span.SetAttributes(attribute.String("orderflow.outcome", outcome))
	if how.reason != "" {
		d.span.SetAttributes(attribute.String("orderflow.reason", how.reason))
	}
	switch {
	case how.failure != "":
		tracing.Fail(d.span, how.failure, how.problem)
	case how.op == opBury:
		tracing.Fail(d.span, how.reason, how.problem)
	}
	d.span.End()
}

// traceID is that of a recorded trace; else empty.
func (d *delivery) traceID() string {
	if d.span == nil {
		return ""
	}
	return d.span.SpanContext().TraceID().String()
}
