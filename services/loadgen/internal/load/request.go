package load

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// result is how a request ended.
type result struct {
	due     time.Time // in the closed model: when it was sent
	answer  client.Answer
	outcome measure.Outcome
	ended   time.Time
	tries   int

	expected  bool   // the answer is what it must be
	deviation string // of a success: how the last altered order differs from what was sent
	cause     string // what became of the try whose answer was lost, when the order turned out to be committed
	last      string // the last fault
}

// request sends the prepared request of some orders, until it is answered, its time is up or the run is interrupted.
func (w *worker) request(ctx context.Context, kind orders.Kind, count int, begun, due time.Time) result {
	r := result{due: due}
	if due.IsZero() {
		r.due = begun
	}
	w.g.Recorder.Begin(kind, count, r.due, begun)
	retry, waiting := w.g.Plan.Retry, begun
	for until := begun.Add(retry.For); ; {
		sent := begun
		if r.tries > 0 {
			sent = time.Now()
			if r.answer.Failure == client.None {
				waiting = sent // there was an answer: the pause that it asked for is no silence
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
		w.g.Log.Debug("retry", slog.String("key", string(w.key)), slog.Int("try", r.tries), slog.String("after", r.last),
			slog.Any("error", r.answer.Err), slog.Duration("pause", pause))
		if r.ended.Add(pause).After(until) {
			r.outcome = measure.Unknown
			return r
		}
		if !wait.For(ctx, pause) {
			r.outcome = measure.Abandoned
			return r
		}
		if r.answer.RetryAfter > 0 {
			w.g.Recorder.Paused(pause)
		}
	}
}

// verdict is what an answer means for a request of its kind.
type verdict uint8

const (
	asExpected verdict = iota
	wrong              // final, but not what it must be
	again              // says nothing about the order: try again with the same key
)

// judge reads an answer. Network faults and what an overloaded, restarting or conflicting server says are tried again; what else is not the
// expected answer would only be said again. What must be refused is no reason for a server to fail: an error of its own (500) is a wrong answer.
func judge(kind orders.Kind, a *client.Answer) verdict {
	switch {
	case a.Failure != client.None, a.Status >= 502 && a.Status <= 504, passing(a.Status):
		return again
	case kind == orders.Poison && slices.Contains([]int{400, 413, 415, 422}, a.Status):
		return asExpected
	case kind == orders.Poison:
		return wrong
	case a.Accepted():
		return asExpected
	case a.Status >= 500:
		return again
	}
	return wrong
}

// passing are the 4xx that another try may well change: time-out, conflict with a try under way, too early, too many.
func passing(status int) bool {
	return status == 408 || status == 409 || status == 425 || status == 429
}

// Retry says how faults are ridden out.
type Retry struct {
	For  time.Duration // since the first try
	Base time.Duration // bound of the first pause
	Max  time.Duration // bound of any pause but one that the api asks for
}

// pause is how long to wait after so many tries: exponential with full jitter, so that clients that failed together do not come
// back together. A Retry-After is waited for in full, with a little on top for the same reason.
func (r Retry) pause(tries int, retryAfter time.Duration) time.Duration {
	if retryAfter > 0 {
		return retryAfter + rand.N(min(retryAfter/10, 100*time.Millisecond)+1)
	}
	bound := r.Max
	if shift := tries - 1; shift < 30 {
		bound = min(r.Max, r.Base<<shift)
	}
	return rand.N(bound + 1)
}

func fault(a *client.Answer) string {
	if a.Failure != client.None {
		return a.Failure.String()
	}
	return strconv.Itoa(a.Status)
}
