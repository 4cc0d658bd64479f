package orders

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/database"
)

// record makes a span of a transaction for those of its units whose requests are traced, and returns the trace id of one of them. Where
// none is, it costs a look at each.
func (w *Writer) record(units []*unit, started time.Time, err error) (traceID string) {
	if w.cfg.Tracer == nil {
		return ""
	}
	var joined []trace.Span
	messages := 0
	for _, u := range units {
		messages += len(u.Orders)
		if u.Span != nil {
			joined = append(joined, u.Span)
		}
	}
	if len(joined) == 0 {
		return ""
	}
	at, _ := w.cfg.Route.Current()
	about := append(tracing.Operation(w.cfg.Queue, "send", "send"), tracing.Statement("publish", messages, w.cfg.Database.Database, at.Name)...)
	span := w.cfg.Tracer.Join(joined, "send "+w.cfg.Queue, trace.SpanKindClient, started, about...)
	if err != nil {
		tracing.Refused(span, database.Classify(err).String(), err)
	}
	span.End()
	return joined[0].SpanContext().TraceID().String()
}

// traceID is that of the unit's request.
func (u *unit) traceID() string { return u.Trace.TraceID().String() }
