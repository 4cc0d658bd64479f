// Package ledger remembers what became of every order number of a run, in sixteen bytes each, so that a million orders can be
// audited from memory. It holds what the generator saw itself, and never what the server says later: that is the audit's.
package ledger

import (
	"sync"
	"sync/atomic"
	"time"
)

// State is what the generator knows of an order.
type State uint32

// The states.
const (
	Unused   State = iota // the number was never given out
	Sent                  // no answer yet; after the run: none at all
	Accepted              // a 201 was seen
	Refused               // the api said no, and would say so again
)

const chunkSize = 1 << 15

type chunk struct {
	id    [chunkSize]atomic.Int64
	state [chunkSize]atomic.Uint32
	sent  [chunkSize]atomic.Uint32 // milliseconds since the run's start
}

// Conflict is an order for which two answers named different ids: it exists twice.
type Conflict struct {
	N             int
	First, Second int64
}

// Ledger is safe for concurrent use.
type Ledger struct {
	Start time.Time // the run's beginning; sent times count from it
	Bulk  int       // orders in one request

	mu        sync.Mutex
	claimed   int
	conflicts []Conflict
	chunks    atomic.Pointer[[]*chunk]
}

// New is an empty ledger of a run whose requests carry `bulk` orders.
func New(start time.Time, bulk int) *Ledger {
	l := &Ledger{Start: start, Bulk: max(1, bulk)}
	l.chunks.Store(&[]*chunk{})
	return l
}

// Claim gives out the next numbers, at most Bulk of them and none beyond limit (0 = no limit). count is 0 when there are none left.
func (l *Ledger) Claim(limit int) (first, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, count = l.claimed, l.Bulk
	if limit > 0 {
		count = min(count, limit-first)
	}
	if count <= 0 {
		return first, 0
	}
	l.grow(first + count)
	return first, count
}

// grow makes room; the list of chunks is replaced, never changed, so that readers need no lock.
func (l *Ledger) grow(claimed int) {
	chunks := *l.chunks.Load()
	if need := (claimed + chunkSize - 1) / chunkSize; need > len(chunks) {
		grown := make([]*chunk, len(chunks), need)
		copy(grown, chunks)
		for len(grown) < need {
			grown = append(grown, new(chunk))
		}
		l.chunks.Store(&grown)
	}
	l.claimed = claimed
}

// Restore gives out the numbers up to n, for a ledger that is written from what the api shows.
func (l *Ledger) Restore(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grow(max(n, l.claimed))
}

// Last is the request given out last; count is 0 before the first.
func (l *Ledger) Last() (first, count int) {
	n := l.Len()
	if n == 0 {
		return 0, 0
	}
	first = (n - 1) - (n-1)%l.Bulk
	return first, n - first
}

// Len is the number of orders given out so far; their numbers are 0 to Len-1.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claimed
}

func (l *Ledger) at(n int) (*chunk, int) { return (*l.chunks.Load())[n/chunkSize], n % chunkSize }

// MarkSent notes that an order is on its way.
func (l *Ledger) MarkSent(n int, at time.Time) {
	c, i := l.at(n)
	c.sent[i].Store(uint32(max(0, at.Sub(l.Start)) / time.Millisecond))
	c.state[i].CompareAndSwap(uint32(Unused), uint32(Sent))
}

// Accept notes a 201. It returns false when an earlier answer named another id, which it keeps as a conflict. An id of 0 means that
// the answer did not say.
func (l *Ledger) Accept(n int, id int64) bool {
	c, i := l.at(n)
	c.state[i].Store(uint32(Accepted))
	if id == 0 || c.id[i].CompareAndSwap(0, id) {
		return true
	}
	first := c.id[i].Load()
	if first == id {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conflicts = append(l.conflicts, Conflict{N: n, First: first, Second: id})
	return false
}

// Refuse notes that the api will not take the order; an order that was accepted before stays accepted.
func (l *Ledger) Refuse(n int) {
	c, i := l.at(n)
	c.state[i].CompareAndSwap(uint32(Sent), uint32(Refused))
}

// State is what is known of an order.
func (l *Ledger) State(n int) State { c, i := l.at(n); return State(c.state[i].Load()) }

// ID is the id that the api gave the order, 0 when no answer named one.
func (l *Ledger) ID(n int) int64 { c, i := l.at(n); return c.id[i].Load() }

// SentAt is when the order was first sent; the zero time when that is not known.
func (l *Ledger) SentAt(n int) time.Time {
	if l.Start.IsZero() {
		return time.Time{}
	}
	c, i := l.at(n)
	return l.Start.Add(time.Duration(c.sent[i].Load()) * time.Millisecond)
}

// Conflicts are the orders that were answered with two different ids.
func (l *Ledger) Conflicts() []Conflict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Conflict(nil), l.conflicts...)
}
