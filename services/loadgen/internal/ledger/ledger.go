// Package ledger remembers what became of every order number of a run, in sixteen bytes each, so that a million orders can be
// audited from memory. It holds what an audit begins with: what the generator saw itself or, of a run that is known by its keys alone, which
// of them the api's listing shows. What the api shows of the orders after that is the audit's, and never comes in here.
package ledger

import (
	"math"
	"sync"
	"time"
)

// State is what is known of an order before it is audited.
type State uint8

// The states.
const (
	Unused   State = iota // the number was never given out
	Sent                  // no answer yet; after the run: none at all; of a run known by its keys: not listed
	Accepted              // answered with a success; of a run known by its keys: listed
	Refused               // the api said no, and would say so again
)

const tenth = 100 * time.Millisecond

// entry is one order.
type entry struct {
	id    int64
	sent  uint32 // milliseconds since the run's start
	took  uint16 // tenths of a second until its request ended, rounded up; 0 = not known
	state State
}

// Conflict is an order for which two answers named different ids.
type Conflict struct {
	N             int
	First, Second int64
}

// Ledger is safe for concurrent use.
type Ledger struct {
	Start time.Time // the run's beginning; sent times count from it; zero: not known, as when the run is known by its keys alone
	Bulk  int       // orders in one request

	mu        sync.Mutex
	entries   []entry
	conflicts []Conflict
}

// New is an empty ledger of a run whose requests carry `bulk` orders.
func New(start time.Time, bulk int) *Ledger { return &Ledger{Start: start, Bulk: max(1, bulk)} }

// Claim gives out the next numbers, at most Bulk of them and none beyond limit (0 = no limit). count is 0 when there are none left.
func (l *Ledger) Claim(limit int) (first, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, count = len(l.entries), l.Bulk
	if limit > 0 {
		count = max(0, min(count, limit-first))
	}
	l.entries = append(l.entries, make([]entry, count)...)
	return first, count
}

// Restore gives out the numbers up to n, of a run that is known by its keys alone.
func (l *Ledger) Restore(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, make([]entry, max(0, n-len(l.entries)))...)
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
	return len(l.entries)
}

// MarkSent notes that an order is on its way.
func (l *Ledger) MarkSent(n int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[n]
	e.sent = uint32(max(0, at.Sub(l.Start)) / time.Millisecond)
	if e.state == Unused {
		e.state = Sent
	}
}

// MarkEnded notes that a request for an order has ended, with an answer or without one.
func (l *Ledger) MarkEnded(n int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[n]
	took := max(0, at.Sub(l.Start)-time.Duration(e.sent)*time.Millisecond)
	e.took = max(e.took, uint16(min(took/tenth+1, math.MaxUint16)))
}

// Accept notes that an order was accepted, and its id; 0 means that the answer did not say. It returns false when an earlier answer named
// another id, which it keeps as a conflict.
func (l *Ledger) Accept(n int, id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[n]
	e.state = Accepted
	switch {
	case e.id == 0:
		e.id = id
	case id != 0 && id != e.id:
		l.conflicts = append(l.conflicts, Conflict{N: n, First: e.id, Second: id})
		return false
	}
	return true
}

// Refuse notes that the api will not take the order; an order that was accepted before stays accepted.
func (l *Ledger) Refuse(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := &l.entries[n]; e.state == Sent {
		e.state = Refused
	}
}

func (l *Ledger) at(n int) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[n]
}

// State is what is known of an order.
func (l *Ledger) State(n int) State { return l.at(n).state }

// ID is the id that the api gave the order, 0 when no answer named one.
func (l *Ledger) ID(n int) int64 { return l.at(n).id }

// SentAt is when the order was first sent; the zero time when that is not known.
func (l *Ledger) SentAt(n int) time.Time {
	if l.Start.IsZero() {
		return time.Time{}
	}
	return l.Start.Add(time.Duration(l.at(n).sent) * time.Millisecond)
}

// UnderWay is how long there were requests for the order, from the first try to the end of the last, rounded up (109 minutes at most); 0 when
// that is not known.
func (l *Ledger) UnderWay(n int) time.Duration { return time.Duration(l.at(n).took) * tenth }

// Conflicts are the orders that were answered with two different ids.
func (l *Ledger) Conflicts() []Conflict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Conflict(nil), l.conflicts...)
}
