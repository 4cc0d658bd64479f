// Package spans owns what a trace shows of deliveries (see docs/decisions/0014): their reads, their handlers, and what settles them. A
// delivery of a trace that nobody records has no span, and costs no more than finding that out.
package spans

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/pg"
)

// Spans makes the spans of one queue's deliveries.
type Spans struct {
	tracer           *tracing.Tracer // nil: there are none
	server           *pg.Server
	queue            string
	receive, process string // names
}

// New makes spans by a tracer; nil: none.
func New(tracer *tracing.Tracer, server *pg.Server, queue string) Spans {
	return Spans{tracer, server, queue, "receive " + queue, "process " + queue}
}

// Begin starts the span of a delivery, which lasts from the read that leased it until its end is written; nil when nobody records it.
func (s Spans) Begin(m *message.Message, read time.Time) trace.Span {
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

// End ends it. outcome is what became of the delivery: how it was settled, or lost.
func End(d *lease.Delivery, outcome string, how ending.Ending) {
	if d.Span == nil {
		return
	}
	d.Span.SetAttributes(attribute.String("orderflow.outcome", outcome))
	if how.Reason != "" {
		d.Span.SetAttributes(attribute.String("orderflow.reason", how.Reason))
	}
	switch {
	case how.Failure != "":
		tracing.Fail(d.Span, string(how.Failure), how.Problem)
	case how.Op == ending.Bury:
		tracing.Fail(d.Span, how.Reason, how.Problem)
	}
	d.Span.End()
}

// Received makes the span of a read.
func (s Spans) Received(deliveries []*lease.Delivery, read time.Time) {
	joined := s.recorded(deliveries)
	if len(joined) == 0 {
		return
	}
	about := append(tracing.Operation(s.queue, "receive", "receive"), s.statement("fetch", len(deliveries))...)
	s.tracer.Join(joined, s.receive, trace.SpanKindClient, read, about...).End()
}

// Handling starts the span of a delivery's handler, which the handler finds in its context.
func (s Spans) Handling(ctx context.Context, d *lease.Delivery, start time.Time) (context.Context, trace.Span) {
	if d.Span == nil {
		return ctx, nil
	}
	span := s.tracer.Below(d.Span, "handle", trace.SpanKindInternal, start, attribute.Int("orderflow.attempt", d.Message.Attempt))
	return trace.ContextWithSpan(ctx, span), span
}

// Handled ends it; nil is none.
func Handled(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		tracing.Fail(span, "handler", err.Error())
	}
	span.End()
}

// Settlement is a statement that was to write how deliveries end.
type Settlement struct {
	Op         ending.Op
	Statement  string // its name
	Deliveries []*lease.Delivery
	Start      time.Time
	WorkBegan  time.Time // in its transaction; before Start: there was none
	WorkEnded  time.Time
	Err        error
}

// Settled makes the span of a settlement, and below it that of the work in its transaction.
func (s Spans) Settled(of Settlement) {
	joined := s.recorded(of.Deliveries)
	if len(joined) == 0 {
		return
	}
	operation := of.Op.String()
	about := append(tracing.Operation(s.queue, "settle", operation), s.statement(of.Statement, len(of.Deliveries))...)
	span := s.tracer.Join(joined, operation+" "+s.queue, trace.SpanKindClient, of.Start, about...)
	if of.WorkBegan.After(of.Start) {
		s.tracer.Below(span, "work", trace.SpanKindInternal, of.WorkBegan).End(trace.WithTimestamp(of.WorkEnded))
	}
	if of.Err != nil {
		tracing.Refused(span, "", of.Err)
	}
	span.End()
}

// Recording says whether anybody records spans.
func (s Spans) Recording() bool { return s.tracer != nil }

// recorded are the spans of those deliveries that have one.
func (s Spans) recorded(deliveries []*lease.Delivery) []trace.Span {
	if s.tracer == nil {
		return nil
	}
	var found []trace.Span
	for _, d := range deliveries {
		if d.Span != nil {
			found = append(found, d.Span)
		}
	}
	return found
}

// statement is what is said of a statement for so many messages.
func (s Spans) statement(name string, messages int) []attribute.KeyValue {
	return tracing.Statement(name, messages, s.server.Database(), s.server.At().Name)
}
