package orders

import (
	"context"
	"math"
	"time"
)

// At some thousand requests a second a transaction for each few of them is most of what an order costs the database: a commit takes it as
// much processor time as twenty orders do. So while requests come that fast, transactions begin gatherFor apart, unless enough orders wait
// or nobody is left who could come. What it adds to an answer is half of gatherFor; what comes slower, or alone, waits for nothing.
const (
	gatherFor    = 2 * time.Millisecond
	gatherOrders = 16                    // are enough: the commit is a small part of what they cost
	gatherRate   = 8                     // requests in gatherFor from which on it is worth waiting
	gatherWindow = 20 * time.Millisecond // in which requests are counted, fading
)

// pace knows when transactions began and how fast requests come. Its zero value has seen none. It belongs to the writer's goroutine.
type pace struct {
	began  time.Time // the transaction before
	recent float64   // requests of the last gatherWindow or so
	around int       // requests that were in the transaction before, or waited at its end: with clients that wait for answers, more will hardly come
}

// begin notes a transaction of so many requests.
func (p *pace) begin(now time.Time, requests int) {
	p.recent *= math.Exp(-float64(now.Sub(p.began)) / float64(gatherWindow))
	p.recent += float64(requests)
	p.began, p.around = now, requests
}

// end notes how many requests came during it.
func (p *pace) end(waiting int) { p.around += waiting }

// next is until when the next transaction may wait for how many requests. One that is not to wait has a time that is over.
func (p *pace) next() (until time.Time, requests int) {
	const enough = gatherRate * float64(gatherWindow) / float64(gatherFor)
	if p.recent < enough {
		return time.Time{}, 1
	}
	return p.began.Add(gatherFor), min(p.around, gatherOrders)
}

// gather waits for company for the requests that wait, as long as that is worth it.
func (w *Writer) gather(ctx context.Context) {
	until, requests := w.pace.next()
	wait := time.Until(until)
	if wait <= 0 || !w.expect(requests) {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.expected = 0
	w.mu.Unlock()
}

// expect has the writer woken no sooner than so many requests wait, or enough orders. It reports false when there is nothing to wait for.
func (w *Writer) expect(requests int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || w.gathered(requests) {
		return false
	}
	w.expected = requests
	select {
	case <-w.wake: // of those that wait already
	default:
	}
	return true
}

// gathered tells whether so many requests wait, or enough orders. The caller holds w.mu.
func (w *Writer) gathered(requests int) bool {
	return len(w.waiting) >= requests || w.queued >= gatherOrders
}
