package orders

import (
	"context"
	"sync"
)

// largeFrom is how many orders a request has that gains little from sharing a transaction: what a commit costs is a small part of what they cost.
const largeFrom = 64

// Writers are the writers of one process: the first one, which writes all that is small, and a second one for large requests while the first is
// busy. So these use two of the server's processors instead of one, and hold up nobody who has a single order.
//
// The second writer connects when there is something to do for it, and gets nothing while it has no connection or cannot write: whatever
// ails it, the first one does its work.
type Writers struct{ first, second *Writer }

// NewWriters makes the writers; second says whether there may be a second one. Nothing is written until [Writers.Run].
func NewWriters(cfg WriterConfig, second bool, monitor Monitor) *Writers {
	w := &Writers{first: NewWriter(cfg, monitor)}
	if second {
		w.second = NewWriter(cfg, monitor)
		w.second.spare, w.second.room = true, w.first.room
	}
	return w
}

// Run writes until ctx ends; then it refuses what comes, writes what is waiting, and returns.
func (w *Writers) Run(ctx context.Context) {
	var second sync.WaitGroup
	if w.second != nil {
		second.Go(func() {
			select {
			case <-w.second.wake: // it is wanted
			case <-ctx.Done():
			}
			w.second.Run(ctx)
		})
	}
	w.first.Run(ctx)
	second.Wait()
}

// Write is [Writer.Write] of one of them.
func (w *Writers) Write(req Request) (Result, error) { return w.choose(len(req.Orders)).Write(req) }

// NotReady is [Writer.NotReady] of the first one: it can do without the other.
func (w *Writers) NotReady() string { return w.first.NotReady() }

// Queued is the number of orders that wait for their transaction.
func (w *Writers) Queued() int { return w.first.Queued() }

// choose returns the writer for a request of so many orders.
func (w *Writers) choose(orders int) *Writer {
	if w.second == nil || orders < largeFrom || w.second.load() >= w.first.load() {
		return w.first
	}
	if !w.second.writes() {
		w.second.awaken()
		return w.first
	}
	return w.second
}
