package audit

import (
	"slices"
	"strings"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// mark is what the audit knows of an order, in two bytes.
type mark uint16

const (
	seen      mark = 1 << iota // found in this look
	pending                    // was there and not settled when last seen
	completed                  // has been seen completed
	dead                       // is dead now
	twice                      // more than one effect
	missed                     // not found in the look before
	lost                       // not found twice
	noEffect                   // completed, and no effect to be seen
	altered                    // its data are not those that were sent
	misnamed                   // the id that it was answered with is another order's, or nobody's though the order is there
	backward                   // completed before it was created
	hidden                     // listed, and not known by its id
)

// book holds the marks of one generator's orders.
type book struct {
	keys    orders.Keys
	ledger  *ledger.Ledger
	marks   []mark
	first   int64                // the lowest and highest id of an accepted order; 0 when there is none
	last    int64                //
	adopt   map[int]int64        // ids of orders that no answer named, as found
	extra   map[int][]int64      // further orders with the same key or data
	rows    map[int]client.Order // how the noteworthy ones looked; bounded
	seconds map[int][]int64      // ids that later answers named
	why     map[int]string       // what was found under an id that is not the order's; bounded
}

func newBook(p Run) *book {
	b := &book{
		keys: p.Keys, ledger: p.Ledger, marks: make([]mark, p.Ledger.Len()),
		adopt: map[int]int64{}, extra: map[int][]int64{}, rows: map[int]client.Order{}, why: map[int]string{}, seconds: map[int][]int64{},
	}
	for _, c := range p.Ledger.Conflicts() {
		b.seconds[c.N] = append(b.seconds[c.N], c.Second)
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

// id is the order's id, if an answer named it or it was found. Where the answer named another order's, the one that was found counts.
func (b *book) id(n int) int64 {
	if id := b.adopt[n]; id != 0 {
		return id
	}
	return b.ledger.ID(n)
}

// names says whether an order as the api shows it is order n: by its key, or by its customer where keys are not shown. One that shows neither is
// taken at its id's word.
func (b *book) names(n int, o *client.Order) bool {
	switch {
	case o.Key != nil && *o.Key != "":
		index, m, ok := orders.Parse(b.keys.Run, *o.Key)
		return ok && index == b.keys.Index && m == n
	case o.CustomerName != "":
		number, ok := orders.NumberOf(o.CustomerName)
		return ok && number == orders.Number(b.keys.Index, n)
	}
	return true
}

// deviation says how an order's data differ from what was sent as order n.
func (b *book) deviation(n int, o *client.Order) string {
	return orders.Deviation(orders.Number(b.keys.Index, n), o.CustomerName, o.ProductName, (*float64)(o.Quantity), (*float64)(o.Price))
}

// stranger notes that an id which an answer gave to order n is another order's, or nobody's.
func (b *book) stranger(n int, why string) {
	b.marks[n] |= misnamed
	if len(b.why) < maxRows {
		b.why[n] = why
	}
}

// promote makes a further order with n's key or data order n itself, when the id that was answered is not its own. It returns its id, or 0.
func (b *book) promote(n int) int64 {
	others := b.extra[n]
	if len(others) == 0 {
		return 0
	}
	b.adopt[n] = others[0]
	if b.extra[n] = others[1:]; len(others) == 1 {
		delete(b.extra, n)
	}
	return others[0]
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
	*m &^= missed | lost | dead | pending | altered
	switch strings.ToLower(o.Status) {
	case statusCompleted:
		*m |= completed
	case statusDead:
		*m |= dead
	default:
		*m |= pending
	}
	if b.deviation(n, o) != "" {
		*m |= altered
	}
	if id == b.ledger.ID(n) && (o.Key != nil || o.CustomerName != "") {
		*m &^= misnamed // whichever else was answered with this id, it is this order's
	}
	if !o.CompletedAt.IsZero() && o.CompletedAt.Before(o.CreatedAt.Time) {
		*m |= backward
	}
	if o.Effects != nil && *o.Effects > 1 {
		*m |= twice
	}
	if *m&completed != 0 && (o.Effects == nil || *o.Effects < 1) {
		*m |= noEffect
	} else {
		*m &^= noEffect
	}
	if *m&(completed|dead) == 0 || *m&(twice|noEffect|altered) != 0 {
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
	*m = *m&^(seen|pending|completed|dead) | missed
}
