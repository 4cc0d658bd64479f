// Package wait is how programs wait before they try again what has failed for now.
package wait

import (
	"cmp"
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

// Pauses are the times between the tries of one thing, such as connecting. Each is at most twice as long as the one before, and at least half of
// that, so that those who failed together do not come back together and nobody spins. The zero value has pauses from 50 ms to 1 s.
type Pauses struct {
	First, Longest time.Duration // Longest is what a recovery is noticed late at most

	next time.Duration
}

// Next is how long to wait after another failure.
func (p *Pauses) Next() time.Duration {
	pause := cmp.Or(p.next, p.First, 50*time.Millisecond)
	p.next = min(2*pause, cmp.Or(p.Longest, time.Second))
	return pause/2 + rand.N(pause/2+1)
}

// Reset begins anew, after a success.
func (p *Pauses) Reset() { p.next = 0 }
