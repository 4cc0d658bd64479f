package orders

import (
	"context"
	"errors"
	"sync"
)

// largeFrom is how many orders a request has that gains little from sharing a transaction: what a commit costs is a small part of what they cost.
const largeFrom = 64

// Writers are the writers of one process: the first one, which writes all that is small, and a second one for large requests while the first is
// busy. So these use two of the server's processors instead of one, and do not hold up who has a single order.
//
// The second writer connects when there is something to do for it, and gets nothing while it has no connection or cannot write: whatever
// ails it, the first one does its work.
type Writers struct {
	first, second *Writer

	mu    sync.Mutex
	keyed map[string]*keyed // large requests with keys that are under way
}

// keyed are requests with the same key, all of them with one writer: with two, one transaction would wait for the other, and with it all that
// is in there.
type keyed struct {
	writer   *Writer
	requests int
}

// NewWriters makes the writers; second says whether there may be a second one. Nothing is written until [Writers.Run].
func NewWriters(cfg WriterConfig, second bool, monitor Monitor) *Writers {
	w := &Writers{first: NewWriter(cfg, monitor), keyed: map[string]*keyed{}}
	if second {
		cfg.Log = cfg.Log.With("writer", "second")
		w.second = NewWriter(cfg, monitor)
		w.second.spare, w.second.room, w.second.latest = true, w.first.room, w.first.latest
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
				w.second.Run(ctx)
			case <-ctx.Done():
			}
		})
	}
	w.first.Run(ctx)
	second.Wait()
}

// Write is [Writer.Write] of one of them.
func (w *Writers) Write(req Request) (Result, error) {
	writer, done := w.choose(&req)
	defer done()
	result, err := writer.Write(req)
	if writer == w.second && errors.Is(err, ErrUnavailable) { // then it has written nothing
		return w.first.Write(req)
	}
	return result, err
}

// NotReady is [Writer.NotReady] of the first one: it can do without the other.
func (w *Writers) NotReady() string { return w.first.NotReady() }

// Queued is the number of orders that wait for their transaction.
func (w *Writers) Queued() int { return w.first.Queued() }

// choose returns the writer for a request, and what is to be called when it has been answered.
func (w *Writers) choose(req *Request) (writer *Writer, done func()) {
	if w.second == nil || len(req.Orders) < largeFrom {
		return w.first, func() {}
	}
	if req.Key == "" {
		return w.lessBusy(), func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keyed[req.Key]
	if k == nil {
		k = &keyed{writer: w.lessBusy()}
		w.keyed[req.Key] = k
	}
	k.requests++
	return k.writer, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if k.requests--; k.requests == 0 {
			delete(w.keyed, req.Key)
		}
	}
}

// lessBusy is the writer with less to do, of those that can write.
func (w *Writers) lessBusy() *Writer {
	switch {
	case w.second.load() >= w.first.load():
		return w.first
	case !w.second.writes():
		w.second.awaken()
		return w.first
	default:
		return w.second
	}
}
