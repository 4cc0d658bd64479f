package load

import (
	"context"
	"math/rand/v2"
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

// judge reads an answer. Network faults and what an overloaded, restarting or conflicting server says are tried again; every other
// 4xx would only be said again.
func judge(kind orders.Kind, a *client.Answer) verdict {
	refusal := kind == orders.Poison || kind == orders.Oversized
	switch {
	case a.Failure == client.Reset && kind == orders.Oversized:
		return asExpected // HTTP lets a server close on a body that it will not read
	case a.Failure != client.None, a.Status >= 500:
		return again
	case a.Accepted():
		if refusal {
			return wrong
		}
		return asExpected
	case a.Status == 408, a.Status == 409, a.Status == 425, a.Status == 429:
		return again
	case refusal:
		return asExpected
	}
	return wrong
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
