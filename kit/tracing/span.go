package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Begin continues a trace that comes from outside, or begins one if from is not valid. It returns what is to be handed on, and the span if
// the trace is recorded; else nil. Attributes come later ([trace.Span.SetAttributes]), so that nothing is made for what is not recorded.
func (t *Tracer) Begin(from trace.SpanContext, name string, kind trace.SpanKind, at time.Time) (trace.SpanContext, trace.Span) {
	switch {
	case t == nil && from.IsValid():
		return from, nil // whoever records will see the caller's span, and not one that there is not
	case t == nil, t.parentBased && from.IsValid() && !from.IsSampled():
		return unrecorded(from.TraceID()), nil
	}
	ctx, traceID := context.Background(), from.TraceID()
	if from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	} else {
		traceID = newTraceID()
	}
	asked := sdk.SamplingParameters{ParentContext: ctx, TraceID: traceID, Name: name, Kind: kind}
	if t.sampler.ShouldSample(asked).Decision != sdk.RecordAndSample {
		return unrecorded(traceID), nil
	}
	_, span := t.tracer.Start(context.WithValue(ctx, decision{}, traceID), name, trace.WithSpanKind(kind), trace.WithTimestamp(at))
	return span.SpanContext(), span
}

// Below starts a span below one that is recorded.
func (t *Tracer) Below(parent trace.Span, name string, kind trace.SpanKind, at time.Time, about ...attribute.KeyValue) trace.Span {
	_, span := t.tracer.Start(below(parent), name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(about...))
	return span
}

// Join starts a span for what is done for several others at once, such as a transaction. Below the one that there is, or, of more, in a
// trace of its own, with links in both directions. There has to be one at least. A span has no more than the SDK's 128 links; beyond that
// those that lead to it are what is left.
func (t *Tracer) Join(joined []trace.Span, name string, kind trace.SpanKind, at time.Time, about ...attribute.KeyValue) trace.Span {
	if len(joined) == 1 {
		return t.Below(joined[0], name, kind, at, about...)
	}
	links := make([]trace.Link, len(joined))
	for i, one := range joined {
		links[i] = trace.Link{SpanContext: one.SpanContext()}
	}
	ctx := context.WithValue(context.Background(), decision{}, newTraceID())
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(about...), trace.WithLinks(links...))
	for _, one := range joined {
		one.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	return span
}

// Fail marks a span as failed. kind is one of few words (error.type); text says more.
func Fail(span trace.Span, kind, text string) {
	span.SetAttributes(attribute.String("error.type", kind))
	span.SetStatus(codes.Error, text)
}

func below(parent trace.Span) context.Context {
	return context.WithValue(trace.ContextWithSpan(context.Background(), parent), decision{}, parent.SpanContext().TraceID())
}

// decision is the key of a context whose span is to be recorded, in the trace of that id.
type decision struct{}

// decided is a sampler that leaves a decision as it is, and asks another one where there is none: for spans that a handler starts.
type decided struct{ sdk.Sampler }

func (d decided) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if _, is := p.ParentContext.Value(decision{}).(trace.TraceID); is {
		return sdk.SamplingResult{Decision: sdk.RecordAndSample, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	}
	return d.Sampler.ShouldSample(p)
}

// ids gives out ids: a trace has the one for which it was decided.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if id, is := ctx.Value(decision{}).(trace.TraceID); is {
		return id, newSpanID()
	}
	return newTraceID(), newSpanID()
}

func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }
