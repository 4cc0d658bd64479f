// Package backoff owns the arithmetic of waiting before an order is tried again. It must never wait itself, nor know what is tried.
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
