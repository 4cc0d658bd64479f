package load

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// worker sends one request at a time and uses its buffers again.
type worker struct {
	g         *Generator
	poster    Poster
	key, body []byte
}

func (g *Generator) newWorker() *worker { return &worker{g: g, poster: g.NewPoster()} }

// send sees request number seq through to its end. due is zero in the closed model: the request is due when it is sent. It returns
// false when there is nothing left to send.
func (w *worker) send(ctx context.Context, seq int, due time.Time) bool {
	switch w.g.Plan.Mix.Kind(seq) {
	case orders.Poison:
		w.sendPoison(ctx, seq, due)
		return true
	case orders.Duplicate:
		if first, count := w.g.Ledger.Last(); count > 0 { // or nothing was sent yet that could be repeated
			w.sendDuplicate(ctx, first, count, due)
			return true
		}
	case orders.Valid:
	}
	return w.sendOrders(ctx, due)
}

// sendOrders sends the next orders, and notes in the ledger what became of them. It returns false when there are none left.
func (w *worker) sendOrders(ctx context.Context, due time.Time) bool {
	first, count := w.g.Ledger.Claim(w.g.Plan.Limit)
	if count == 0 {
		return false
	}
	w.prepare(first, count)
	now := time.Now()
	for i := range count {
		w.g.Ledger.MarkSent(first+i, now)
	}
	r := w.request(ctx, orders.Valid, count, now, due)
	w.markEnded(first, count, r.ended)
	if w.g.Plan.Mix.Duplicate > 0 {
		r.cause = "" // the answer may be a replay of a duplicate's
	}
	w.g.Recorder.End(count, r.due, r.ended, r.outcome, r.answer.Replayed, r.cause)
	switch r.outcome {
	case measure.Accepted:
		if !w.accept(first, count, &r) {
			// The duplicate's answer was faster, and was taken for right.
			w.g.Recorder.Contradicted(func() string {
				return fmt.Sprintf("%s: another id than the first time: %d", w.key, r.answer.Orders[0].ID)
			})
		}
		if r.answer.Status != 201 && r.tries == 1 && !r.answer.Replayed {
			w.g.Recorder.Broken(measure.Not201, int64(count), func() string { return fmt.Sprintf("%s: status %d", w.key, r.answer.Status) })
		}
	case measure.Refused:
		for i := range count {
			w.g.Ledger.Refuse(first + i)
		}
		w.g.Log.Log(ctx, w.g.failureLevel(), "order refused", slog.String("key", string(w.key)), slog.Int("status", r.answer.Status),
			slog.String("answer", excerpt(r.answer.Body)))
	case measure.Unknown:
		w.g.Log.Log(ctx, w.g.failureLevel(), "order given up", slog.String("key", string(w.key)), slog.String("last", r.last),
			slog.Int("tries", r.tries), slog.Any("error", r.answer.Err))
	}
	return true
}

func (w *worker) markEnded(first, count int, at time.Time) {
	for i := range count {
		w.g.Ledger.MarkEnded(first+i, at)
	}
}

// prepare builds the request for orders first to first+count-1: the same every time.
func (w *worker) prepare(first, count int) {
	p := &w.g.Plan
	w.key = p.Keys.Append(w.key[:0], first)
	number := orders.Number(p.Keys.Index, first)
	if p.Bulk > 1 {
		w.body = orders.AppendBatchJSON(w.body[:0], number, count)
	} else {
		w.body = orders.AppendJSON(w.body[:0], number)
	}
}

// accept notes a success: the orders' ids, and what breaks the contract. It returns false when an order already had another id.
func (w *worker) accept(first, count int, r *result) (same bool) {
	shown := r.answer.Orders
	if len(shown) != count || slices.ContainsFunc(shown, func(o client.Receipt) bool { return o.ID == 0 }) {
		w.g.Recorder.Broken(measure.NoID, int64(count), func() string { return fmt.Sprintf("%s: status %d without an id", w.key, r.answer.Status) })
		shown = make([]client.Receipt, count)
	}
	same = true
	for i, o := range shown {
		same = w.g.Ledger.Accept(first+i, o.ID) && same
		if text := o.Deviation(orders.Of(orders.Number(w.g.Plan.Keys.Index, first+i))); o.ID != 0 && text != "" {
			r.deviation = text
			w.g.Recorder.Broken(measure.Altered, 1, func() string { return fmt.Sprintf("%s: %s", w.key, text) })
		}
	}
	return same
}

// sendDuplicate sends the latest orders' request once more. That may still be under way, so that the two race.
func (w *worker) sendDuplicate(ctx context.Context, first, count int, due time.Time) {
	w.prepare(first, count)
	r := w.request(ctx, orders.Duplicate, count, time.Now(), due)
	w.markEnded(first, count, r.ended)
	same := r.outcome == measure.Accepted && w.accept(first, count, &r) && r.deviation == ""
	w.g.Recorder.EndSpecial(orders.Duplicate, r.outcome, same, func() string {
		switch {
		case r.outcome == measure.Refused:
			return fmt.Sprintf("%s: status %d", w.key, r.answer.Status)
		case r.deviation != "":
			return fmt.Sprintf("%s: %s", w.key, r.deviation)
		}
		return fmt.Sprintf("%s: another id than the first time: %d", w.key, r.answer.Orders[0].ID)
	})
}

// sendPoison sends what must be refused.
func (w *worker) sendPoison(ctx context.Context, seq int, due time.Time) {
	p := &w.g.Plan
	w.key = p.Keys.AppendWrong(w.key[:0], seq)
	w.body = orders.AppendPoison(w.body[:0], p.Mix.Seed, seq, p.Bulk)
	r := w.request(ctx, orders.Poison, p.Bulk, time.Now(), due)
	w.g.Recorder.EndSpecial(orders.Poison, r.outcome, r.expected, func() string {
		return fmt.Sprintf("%s (%s): status %d", w.key, orders.PoisonName(p.Mix.Seed, seq), r.answer.Status)
	})
}

func excerpt(body []byte) string {
	const most = 300
	if len(body) > most {
		return string(body[:most]) + "…"
	}
	return string(body)
}
