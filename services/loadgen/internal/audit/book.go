package audit

import (
	"slices"
	"strings"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// mark is what the audit knows of an order, in one byte.
type mark uint8

const (
	seen      mark = 1 << iota // found in this look
	completed                  // has been seen completed
	dead                       // is dead now
	twice                      // more than one effect
	missed                     // not found in the look before
	lost                       // not found twice
	noEffect                   // completed, yet with 0 effects
)

// book holds the marks of one generator's orders.
type book struct {
	keys   orders.Keys
	ledger *ledger.Ledger
	marks  []mark
	first  int64                // the lowest and highest id of an accepted order; 0 when there is none
	last   int64                //
	adopt  map[int]int64        // ids of orders that no answer named, as found
	extra  map[int][]int64      // further orders with the same key or data
	rows   map[int]client.Order // how the noteworthy ones looked; bounded
}

func newBook(p Run) *book {
	b := &book{
		keys: p.Keys, ledger: p.Ledger, marks: make([]mark, p.Ledger.Len()),
		adopt: map[int]int64{}, extra: map[int][]int64{}, rows: map[int]client.Order{},
	}
	for n := range b.marks {
		if id := p.Ledger.ID(n); id != 0 {
			if b.first == 0 || id < b.first {
				b.first = id
			}
			b.last = max(b.last, id)
		}
	}
	return b
}

// begin starts a new look at all orders.
func (b *book) begin() {
	for n := range b.marks {
		b.marks[n] &^= seen
	}
}

// id is the order's id, if an answer named it or it was found.
func (b *book) id(n int) int64 {
	if id := b.ledger.ID(n); id != 0 {
		return id
	}
	return b.adopt[n]
}

// open says whether the order's fate is still to be found out: it was accepted, or it was found though it was not, and it is not settled.
func (b *book) open(n int) bool {
	m := b.marks[n]
	if m&(completed|dead|lost) != 0 {
		return false
	}
	return b.ledger.State(n) == ledger.Accepted || b.adopt[n] != 0
}

const (
	statusCompleted = "completed"
	statusDead      = "dead"
	maxRows         = 1000
)

func settled(status string) bool {
	return strings.EqualFold(status, statusCompleted) || strings.EqualFold(status, statusDead)
}

// apply takes in one order as the api shows it. It returns true when it is newly completed.
func (b *book) apply(n int, o *client.Order) bool {
	id := int64(o.ID)
	own := b.id(n)
	if own == 0 {
		b.adopt[n] = id
		own = id
	}
	if own != id {
		if !slices.Contains(b.extra[n], id) {
			b.extra[n] = append(b.extra[n], id)
		}
		return false
	}
	m := &b.marks[n]
	was := *m
	*m |= seen
	*m &^= missed | lost | dead
	switch strings.ToLower(o.Status) {
	case statusCompleted:
		*m |= completed
	case statusDead:
		*m |= dead
	}
	if o.Effects != nil {
		if *o.Effects > 1 {
			*m |= twice
		}
		if *o.Effects == 0 && *m&completed != 0 {
			*m |= noEffect
		} else {
			*m &^= noEffect
		}
	}
	if *m&(completed|dead) == 0 || *m&(twice|noEffect) != 0 {
		if _, kept := b.rows[n]; kept || len(b.rows) < maxRows {
			b.rows[n] = *o
		}
	} else {
		delete(b.rows, n)
	}
	return was&completed == 0 && *m&completed != 0
}

// miss notes that the order was looked for and not found.
func (b *book) miss(n int) {
	m := &b.marks[n]
	if *m&missed != 0 {
		*m |= lost
	}
	*m = *m&^(seen|completed|dead) | missed
}
