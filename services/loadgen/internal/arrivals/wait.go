package arrivals

import (
	"context"
	"time"
)

// timerSlack is how late the runtime's timers may be: with idle processors they are rounded up to a millisecond of epoll_wait.
// That would stand in every latency of the open model as if the server had caused it.
const timerSlack = 1500 * time.Microsecond

// WaitUntil blocks until the moment, or returns false when the context ends first. The last bit is slept in the kernel, which is
// exact to some 60 µs and costs no processor time, unlike spinning.
func WaitUntil(ctx context.Context, until time.Time) bool {
	if rest := time.Until(until); rest > 2*timerSlack {
		timer := time.NewTimer(rest - timerSlack)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	if rest := time.Until(until); rest > 0 {
		sleepExactly(rest)
	}
	return ctx.Err() == nil
}
