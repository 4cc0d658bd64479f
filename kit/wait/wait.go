// Package wait is how programs wait before they try again what has failed for now.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for so long. It returns false when the context ends first.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Pauses are the times between the tries of one thing. Each is twice as long as the one before, from First to Longest, and then half as long to
// half as long again, so that those who failed together do not come back together.
type Pauses struct {
	First, Longest time.Duration

	next time.Duration
}

// Next is how long to wait after another failure.
func (p *Pauses) Next() time.Duration {
	pause := max(p.next, p.First)
	p.next = min(2*pause, p.Longest)
	return pause/2 + rand.N(pause)
}

// Reset begins anew, after a success.
func (p *Pauses) Reset() { p.next = 0 }
