package fetch

import (
	"context"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/lease"
)

// Buffer is where deliveries wait for a worker. What no worker is to have is handed back.
type Buffer struct {
	waiting chan *lease.Delivery
	held    *lease.Set
	gate    *gating.Gate
	settler Settler
}

// NewBuffer has room for most deliveries.
func NewBuffer(most int, held *lease.Set, gate *gating.Gate, settler Settler) *Buffer {
	return &Buffer{waiting: make(chan *lease.Delivery, most), held: held, gate: gate, settler: settler}
}

// Waiting is where workers take from, until it is closed.
func (b *Buffer) Waiting() <-chan *lease.Delivery { return b.waiting }

// Close is the end of the workers. The fetcher has ended.
func (b *Buffer) Close() { close(b.waiting) }

// put has a delivery wait for a worker, or hands it back when ctx has ended. It does not block as a rule: the fetcher keeps what is held
// below the buffer's capacity.
func (b *Buffer) put(ctx context.Context, d *lease.Delivery) {
	if ctx.Err() != nil {
		b.Release(d)
		return
	}
	select {
	case b.waiting <- d:
	case <-ctx.Done():
		b.Release(d)
	}
}

// releaseOldest releases what has waited for a worker longest, up to so many messages.
func (b *Buffer) releaseOldest(most int) {
	for range most {
		select {
		case d, open := <-b.waiting:
			if !open {
				return
			}
			b.Release(d)
		default:
			return
		}
	}
}

// ReleaseAll releases all that no worker has taken.
func (b *Buffer) ReleaseAll() { b.releaseOldest(cap(b.waiting)) }

// Release hands back what no handler will be given, unless its lease has been lost. It keeps its place before what has become due since.
func (b *Buffer) Release(d *lease.Delivery) {
	b.gate.Unused(&d.Ticket)
	if b.held.Decide(d, lease.Leaving) {
		b.settler.Settle(d, ending.Unstarted{InPlace: true})
	}
}
