package tracing

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// bounded hands spans to the SDK's batches, and drops what is beyond their queue. The SDK would do that as well, but tell nobody.
type bounded struct {
	sdk.SpanProcessor
	most    int64
	waiting *atomic.Int64 // that the exporter has not been given yet, or is at
	log     *slog.Logger

	mu       sync.Mutex
	dropping bool
	dropped  int64 // since dropping began
}

func newBounded(e *watched, p *plan, log *slog.Logger) *bounded {
	return &bounded{
		SpanProcessor: sdk.NewBatchSpanProcessor(e, sdk.WithMaxQueueSize(p.queue), sdk.WithMaxExportBatchSize(p.batch), sdk.WithBatchTimeout(p.delay), sdk.WithExportTimeout(p.timeout)),
		most:          int64(p.queue), waiting: &e.waiting, log: log,
	}
}

// OnEnd never waits.
func (b *bounded) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	full := b.waiting.Add(1) > b.most
	if full {
		b.waiting.Add(-1)
	} else {
		b.SpanProcessor.OnEnd(s)
	}
	b.note(full)
}

// note says when dropping begins, and when it is over: when half of the queue is free again.
func (b *bounded) note(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case full && !b.dropping:
		b.dropping, b.dropped = true, 1
		b.log.Warn("spans are dropped: the collector takes them more slowly than they come; sample fewer (OTEL_TRACES_SAMPLER), or raise OTEL_BSP_MAX_QUEUE_SIZE", "waiting", b.most)
	case full:
		b.dropped++
	case b.dropping && b.waiting.Load() <= b.most/2:
		b.dropping = false
		b.log.Info("spans are not dropped any more", "dropped", b.dropped)
	}
}

// watched is an exporter that says when the collector begins to take no spans, and when it takes them again. Its errors go no further.
type watched struct {
	sdk.SpanExporter
	waiting atomic.Int64
	log     *slog.Logger

	failing bool // of the batches' goroutine, as the rest
	lost    int
}

// ExportSpans is called by one goroutine at a time.
func (w *watched) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	w.waiting.Add(-int64(len(spans)))
	switch {
	case err != nil && !w.failing:
		w.failing, w.lost = true, len(spans)
		w.log.Warn("the collector does not take traces: spans are lost until it does; nothing else is touched by that", "error", err.Error())
	case err != nil:
		w.lost += len(spans)
	case w.failing:
		w.failing = false
		w.log.Info("the collector takes traces again", "spans_lost", w.lost)
	}
	return nil
}
