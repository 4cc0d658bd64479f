package load

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

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

// sleep waits, or returns false when the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
