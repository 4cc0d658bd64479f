// Package backoff owns the arithmetic of waiting before trying again. It must never wait itself, nor know what is tried.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy is exponential backoff with full jitter: attempt n waits a random time between 0 and
// min(Max, Base × Multiplier^(n-1)). Full jitter spreads what failed together; see "Exponential Backoff And Jitter"
// (AWS Architecture Blog), where it needed the fewest calls of the variants compared.
type Policy struct {
	Base, Max  time.Duration
	Multiplier float64
}

// Bound is the longest that attempt n (1 is the first) can wait.
func (p Policy) Bound(attempt int) time.Duration {
	bound := float64(p.Base)
	for range min(attempt-1, 1000) {
		bound *= p.Multiplier
		if bound >= float64(p.Max) {
			return p.Max
		}
	}
	return min(time.Duration(bound), p.Max)
}

// Delay draws the wait before the attempt that follows attempt n.
func (p Policy) Delay(attempt int) time.Duration {
	return rand.N(p.Bound(attempt) + 1)
}

// Retry counts the failures in a row of one thing that is tried over and over, such as connecting. The zero value waits
// from 25 ms to 1 s: the cap is what a recovery is late at most.
type Retry struct{ failures int }

// Next returns how long to wait after another failure: between half the bound and the bound, so that it never spins.
func (r *Retry) Next() time.Duration {
	r.failures++
	bound := Policy{Base: 50 * time.Millisecond, Max: time.Second, Multiplier: 2}.Bound(r.failures)
	return bound/2 + rand.N(bound/2+1)
}

// Reset forgets the failures, after a success.
func (r *Retry) Reset() { r.failures = 0 }
