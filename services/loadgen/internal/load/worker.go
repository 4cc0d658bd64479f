package load

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
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

func (w *worker) release() { w.poster.Release() }

// send sees request number seq through to its end. due is zero in the closed model: the request is due when it is sent. It returns
// false when there is nothing left to send.
func (w *worker) send(ctx context.Context, seq int, due time.Time) bool {
	switch w.g.Plan.Mix.Kind(seq) {
	case orders.Poison:
		w.sendPoison(ctx, seq, due)
		return true
	case orders.Duplicate:
		if first, count := w.g.Ledger.Last(); count > 0 {
			w.sendDuplicate(ctx, first, count, due)
			return true
		}
		// Nothing was sent yet that could be repeated.
		return w.sendOrders(ctx, due)
	default:
		return w.sendOrders(ctx, due)
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
	r, due := w.request(ctx, orders.Valid, count, now, due)
	if w.g.Plan.Mix.Duplicate > 0 {
		r.cause = "" // the answer may be a replay of a duplicate's
	}
	w.g.Recorder.End(count, due, r.ended, r.outcome, r.answer.Replayed, r.cause)
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
		w.g.Log.Log(ctx, w.g.loud(), "order refused", slog.String("key", string(w.key)), slog.Int("status", r.answer.Status), slog.String("answer", excerpt(r.answer.Body)))
	case measure.Unknown:
		w.g.Log.Log(ctx, w.g.loud(), "order given up", slog.String("key", string(w.key)), slog.String("last", r.last), slog.Int("tries", r.tries), slog.Any("error", r.answer.Err))
	}
	return true
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
	r, _ := w.request(ctx, orders.Duplicate, count, time.Now(), due)
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
	r, _ := w.request(ctx, orders.Poison, p.Bulk, time.Now(), due)
	w.g.Recorder.EndSpecial(orders.Poison, r.outcome, r.expected, func() string {
		return fmt.Sprintf("%s (%s): status %d", w.key, orders.PoisonName(p.Mix.Seed, seq), r.answer.Status)
	})
}

// request sends the prepared request of some orders. It returns how that ended, and when it was due: in the closed model that is now.
func (w *worker) request(ctx context.Context, kind orders.Kind, count int, now, due time.Time) (result, time.Time) {
	if due.IsZero() {
		due = now
	}
	w.g.Recorder.Begin(kind, count, due, now)
	return w.try(ctx, kind, now), due
}

// result is how a request ended.
type result struct {
	answer  client.Answer
	outcome measure.Outcome
	ended   time.Time
	tries   int

	expected  bool   // the answer is what it must be
	deviation string // of a success: how the last altered order differs from what was sent
	cause     string // what became of the try whose answer was lost, when the order turned out to be committed
	last      string // the last fault
}

// try sends the prepared request until it is answered, its time is up or the run is interrupted.
func (w *worker) try(ctx context.Context, kind orders.Kind, begun time.Time) result {
	r := result{}
	retry := w.g.Plan.Retry
	waiting := begun
	for until := begun.Add(retry.For); ; {
		sent := begun
		if r.tries > 0 {
			sent = time.Now()
			if r.answer.Failure == client.None {
				waiting = sent // what the last answer asked for was not this request's waiting
			}
		}
		r.answer = w.poster.Post(w.key, w.body)
		r.ended = time.Now()
		r.tries++
		verdict := judge(kind, &r.answer)
		w.g.Recorder.Try(measure.Try{
			Kind: kind, Begun: sent, Ended: r.ended, Waiting: waiting, Retry: r.tries > 1, Failed: verdict != asExpected,
		}, &r.answer)
		switch {
		case r.answer.Accepted():
			r.outcome = measure.Accepted
			return r
		case verdict != again:
			r.outcome, r.expected = measure.Refused, verdict == asExpected
			return r
		}
		r.last = fault(&r.answer)
		// A connection that never stood cannot have carried an order; anything else may have been committed.
		if r.answer.Failure == client.Reset || r.answer.Failure == client.Timeout || (r.cause == "" && r.answer.Failure != client.Connect) {
			r.cause = r.last
		}
		pause := retry.pause(r.tries, r.answer.RetryAfter)
		w.g.Log.Debug("retry", slog.String("key", string(w.key)), slog.Int("try", r.tries), slog.String("after", r.last), slog.Any("error", r.answer.Err), slog.Duration("pause", pause))
		if r.ended.Add(pause).After(until) {
			r.outcome = measure.Unknown
			return r
		}
		if !sleep(ctx, pause) {
			r.outcome = measure.Abandoned
			return r
		}
		if r.answer.RetryAfter > 0 {
			w.g.Recorder.Paused(pause)
		}
	}
}

func fault(a *client.Answer) string {
	if a.Failure != client.None {
		return a.Failure.String()
	}
	return strconv.Itoa(a.Status)
}

func excerpt(body []byte) string {
	const most = 300
	if len(body) > most {
		return string(body[:most]) + "…"
	}
	return string(body)
}
