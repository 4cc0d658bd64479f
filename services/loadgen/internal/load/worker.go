package load

import (
	"context"
	"fmt"
	"log/slog"
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
	switch kind := w.g.Plan.Mix.Kind(seq); kind {
	case orders.Poison, orders.Oversized:
		w.sendWrong(ctx, kind, seq, due)
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
	if due.IsZero() {
		due = now
	}
	for i := range count {
		w.g.Ledger.MarkSent(first+i, now)
	}
	w.g.Recorder.Begin(orders.Valid, count, due, now)
	r := w.try(ctx, orders.Valid, now, w.poster.Post)
	if r.cause != "" && w.g.Ledger.Repeated(first) {
		r.cause = "" // the answer may be a replay of the duplicate's
	}
	w.g.Recorder.End(count, due, r.ended, r.outcome, r.answer.Replayed, r.cause)
	switch r.outcome {
	case measure.Accepted:
		if !w.accept(first, count, &r) {
			// The duplicate's answer was faster, and was taken for right.
			w.g.Recorder.Contradicted(func() string { return fmt.Sprintf("%s: another id than the first time: %v", w.key, r.answer.IDs) })
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
func (w *worker) accept(first, count int, r *result) bool {
	a, same := &r.answer, true
	if len(a.IDs) != count {
		w.g.Recorder.Broken(measure.NoID, int64(count), func() string { return fmt.Sprintf("%s: status %d with %d ids", w.key, a.Status, len(a.IDs)) })
	}
	if a.Altered > 0 {
		w.g.Recorder.Broken(measure.Altered, int64(a.Altered), func() string { return fmt.Sprintf("%s: %s", w.key, a.Deviation) })
	}
	for i := range count {
		id := int64(0)
		if len(a.IDs) == count {
			id = a.IDs[i]
		}
		same = w.g.Ledger.Accept(first+i, id) && same
	}
	return same
}

// sendDuplicate sends the latest orders' request once more. That may still be under way, so that the two race.
func (w *worker) sendDuplicate(ctx context.Context, first, count int, due time.Time) {
	w.prepare(first, count)
	now := time.Now()
	if due.IsZero() {
		due = now
	}
	w.g.Recorder.Begin(orders.Duplicate, count, due, now)
	w.g.Ledger.MarkRepeated(first)
	r := w.try(ctx, orders.Duplicate, now, w.poster.Post)
	same := r.outcome == measure.Accepted && w.accept(first, count, &r) && r.answer.Altered == 0
	w.g.Recorder.EndSpecial(orders.Duplicate, r.outcome, same, func() string {
		switch {
		case r.outcome == measure.Refused:
			return fmt.Sprintf("%s: status %d", w.key, r.answer.Status)
		case r.answer.Altered > 0:
			return fmt.Sprintf("%s: %s", w.key, r.answer.Deviation)
		}
		return fmt.Sprintf("%s: another id than the first time: %v", w.key, r.answer.IDs)
	})
}

// sendWrong sends what must be refused.
func (w *worker) sendWrong(ctx context.Context, kind orders.Kind, seq int, due time.Time) {
	p := &w.g.Plan
	w.key = p.Keys.AppendWrong(w.key[:0], seq)
	name, post := "", w.poster.Post
	if kind == orders.Poison {
		name = orders.PoisonName(p.Mix.Seed, seq)
		w.body = orders.AppendPoison(w.body[:0], p.Mix.Seed, seq, p.Bulk)
	} else {
		name, post = strconv.Itoa(p.Oversized)+" bytes", w.poster.PostLarge
		w.body = orders.AppendOversized(w.body[:0], p.Oversized)
	}
	now := time.Now()
	if due.IsZero() {
		due = now
	}
	w.g.Recorder.Begin(kind, p.Bulk, due, now)
	r := w.try(ctx, kind, now, post)
	w.g.Recorder.EndSpecial(kind, r.outcome, r.expected, func() string {
		return fmt.Sprintf("%s (%s): status %d", w.key, name, r.answer.Status)
	})
	if cap(w.body) > 1<<20 {
		w.body = nil // a thousand workers must not each keep an oversized body
	}
}

// result is how a request ended.
type result struct {
	answer  client.Answer
	outcome measure.Outcome
	ended   time.Time
	tries   int

	expected bool   // the answer is what it must be
	cause    string // what became of the try whose answer was lost, when the order turned out to be committed
	last     string // the last fault
}

// try sends the prepared request until it is answered, its time is up or the run is interrupted.
func (w *worker) try(ctx context.Context, kind orders.Kind, begun time.Time, post func(key, body []byte) client.Answer) result {
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
		r.answer = post(w.key, w.body)
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
