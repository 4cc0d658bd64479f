package audit

import (
	"slices"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// mark is what the audit knows of an order.
type mark uint16

const (
	seen       mark = 1 << iota // found in this look
	pending                     // was neither completed nor dead when last seen
	completed                   // is completed now
	dead                        // is dead now
	deadEffect                  // is dead now, and has had its effect
	twice                       // more than one effect
	missed                      // not found when last looked for
	lost                        // not found twice in a row
	noEffect                    // completed, and without an effect
	altered                     // its data are not those that were sent
	foreign                     // the id that it was answered with is another order's
)

// book holds what the api shows of one generator's orders.
type book struct {
	keys   orders.Keys
	ledger *ledger.Ledger
	orders []entry
	others map[int][]int64      // further orders with the same key or, without a key, with the same data and made with it
	second map[int][]int64      // other ids, which later answers named
	rows   map[int]client.Order // how the noteworthy ones looked; bounded
	why    map[int]string       // what was found under an id that is not the order's; bounded
}

// entry is one order, in sixteen bytes.
type entry struct {
	id   int64 // under which the api shows it; 0 = not yet
	mark mark
}

func newBook(p Part) *book {
	b := &book{
		keys: p.Keys, ledger: p.Ledger, orders: make([]entry, p.Ledger.Len()),
		others: map[int][]int64{}, second: map[int][]int64{}, rows: map[int]client.Order{}, why: map[int]string{},
	}
	for _, c := range p.Ledger.Conflicts() {
		b.second[c.N] = append(b.second[c.N], c.Second)
	}
	return b
}

// id is the order's id: that under which it is shown, or else that with which it was answered; 0 when neither is known.
func (b *book) id(n int) int64 {
	if id := b.orders[n].id; id != 0 {
		return id
	}
	return b.ledger.ID(n)
}

// isOrder says whether what the api shows is order n, by its key.
func (b *book) isOrder(n int, o *client.Order) bool {
	index, m, ok := orders.Parse(b.keys.Run, o.Key)
	return ok && index == b.keys.Index && m == n
}

// byKeys says whether the run is known by its keys alone: nobody has seen how its requests were answered.
func (b *book) byKeys() bool { return b.ledger.Start.IsZero() }

// deviation says how order n, as the api shows it, differs from what was sent; "" when it does not.
func (b *book) deviation(n int, o *client.Order) string {
	return o.Deviation(orders.Of(orders.Number(b.keys.Index, n)))
}

// misnamed says whether none of the ids that order n was answered with is its own.
func (b *book) misnamed(n int) bool {
	e := b.orders[n]
	if e.id == 0 || b.ledger.ID(n) == 0 {
		return e.mark&foreign != 0
	}
	return !slices.ContainsFunc(append(b.second[n], b.ledger.ID(n)), func(id int64) bool { return id == e.id || slices.Contains(b.others[n], id) })
}

// open says whether the order's fate is still to be found out: it was accepted, or it was found though it was not, and it is not settled.
func (b *book) open(n int) bool {
	e := b.orders[n]
	return e.mark&(completed|dead|lost) == 0 && (b.ledger.State(n) == ledger.Accepted || e.id != 0)
}

// maxRows bounds what is kept to be shown.
const maxRows = 1000

// see notes order n as the api shows it. It returns true when it is newly completed.
func (b *book) see(n int, o *client.Order) bool {
	e := &b.orders[n]
	if e.id == 0 {
		e.id = o.ID
	}
	if e.id != o.ID {
		if !slices.Contains(b.others[n], o.ID) {
			b.others[n] = append(b.others[n], o.ID)
		}
		return false
	}
	was := e.mark
	e.mark = e.mark&^(missed|lost|completed|dead|deadEffect|pending|altered|noEffect) | seen // as it is now, whatever it has been
	switch o.Status {
	case "completed":
		e.mark |= completed
		if o.Effects < 1 {
			e.mark |= noEffect
		}
	case "dead":
		e.mark |= dead
		if o.Effects > 0 {
			e.mark |= deadEffect
		}
	default:
		e.mark |= pending
	}
	if o.Effects > 1 {
		e.mark |= twice
	}
	if b.deviation(n, o) != "" {
		e.mark |= altered
	}
	if e.mark&(completed|dead) == 0 || e.mark&(twice|noEffect|deadEffect|altered) != 0 {
		if _, kept := b.rows[n]; kept || len(b.rows) < maxRows {
			b.rows[n] = *o
		}
	} else {
		delete(b.rows, n)
	}
	return was&completed == 0 && e.mark&completed != 0
}

// miss notes that the order was looked for and not found; why is what was found instead, if anything.
func (b *book) miss(n int, why string) {
	m := &b.orders[n].mark
	if *m&missed != 0 {
		*m |= lost
	}
	*m = *m&^(seen|pending|completed|dead|deadEffect) | missed
	if why != "" {
		*m |= foreign
		if len(b.why) < maxRows {
			b.why[n] = why
		}
	}
}
