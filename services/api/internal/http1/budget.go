package http1

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Budget bounds the bytes of large bodies that are in memory at a time. It never waits: what does not fit is refused.
type Budget struct {
	size int64
	slow time.Duration // how long a client may take for its large body when others need the room

	mu      sync.Mutex
	used    int64
	refused int64
	held    map[*Conn]hold
}

type hold struct {
	bytes int64
	since time.Time
}

// NewBudget makes a budget of so many bytes.
func NewBudget(size int64) *Budget {
	return &Budget{size: size, slow: time.Second, held: make(map[*Conn]hold)}
}

// take gives a connection so many bytes more. When there are not enough, connections whose clients have kept them waiting for long are
// closed and their bytes taken, the longest first.
func (b *Budget) take(c *Conn, bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes > b.size-b.used {
		b.reclaim(bytes)
	}
	if bytes > b.size-b.used {
		b.refused++
		return false
	}
	h, ok := b.held[c]
	if !ok {
		h.since = time.Now()
	}
	h.bytes += bytes
	b.held[c] = h
	b.used += bytes
	return true
}

func (b *Budget) reclaim(bytes int64) {
	holders := make([]*Conn, 0, len(b.held))
	for c := range b.held {
		holders = append(holders, c)
	}
	slices.SortFunc(holders, func(x, y *Conn) int { return cmp.Compare(b.held[x].since.UnixNano(), b.held[y].since.UnixNano()) })
	for _, c := range holders {
		if bytes <= b.size-b.used {
			return
		}
		if c.client.Evict(b.slow) {
			b.used -= b.held[c].bytes
			delete(b.held, c)
		}
	}
}

// release gives back all that a connection holds.
func (b *Budget) release(c *Conn) {
	b.mu.Lock()
	b.used -= b.held[c].bytes
	delete(b.held, c)
	b.mu.Unlock()
}

// Stats are a budget in numbers.
type Stats struct {
	Used, Size int64 // bytes
	Refused    int64 // requests and answers for which there was no room, since the start
}

// Stats counts.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{b.used, b.size, b.refused}
}
