package audit

import (
	"math/rand/v2"
	"slices"
)

// gaps are the ids from a little before the run's first order to a little beyond its last that are none of its known orders. They are told by
// what is known, in order: beside another client there may be one for each order.
type gaps struct {
	known []int64 // sorted; what stands twice counts once
	first int64   // the first id that may be in a gap; the last one of known is behind all
}

func (a *Auditor) gaps() gaps {
	known := make([]int64, 0, a.size+1)
	for _, b := range a.books {
		for n := range b.orders {
			if id := b.id(n); id != 0 && b.orders[n].mark&lost == 0 { // a lost one's id may be that of an order that is not known
				known = append(known, id)
			}
		}
		for _, ids := range b.others {
			known = append(known, ids...)
		}
	}
	if len(known) == 0 {
		return gaps{}
	}
	slices.Sort(known)
	tail := int64(16 + min(a.size/20, 240)) // what may have been under way at the ends
	return gaps{known: append(known, known[len(known)-1]+tail+1), first: max(1, known[0]-tail)}
}

// each calls use with the first id of each gap, and how many there are one after the other.
func (g gaps) each(use func(first, count int64)) {
	next := g.first
	for _, id := range g.known {
		if id > next {
			use(next, id-next)
		}
		next = id + 1
	}
}

// pick returns ids of the gaps, and how many these have: each, or one drawn of every few where they are more than most. What is drawn is spread
// over all, and falls in with no pattern in which a run's orders and other clients' take turns.
func (g gaps) pick(most int) (ids []int64, all int64) {
	g.each(func(_, count int64) { all += count })
	if all == 0 {
		return nil, 0
	}
	every := (all-1)/int64(most) + 1
	next := func() int64 { // the place, among all, of the id that is drawn next
		at := int64(len(ids)) * every
		if at >= all {
			return all
		}
		return at + rand.Int64N(min(every, all-at))
	}
	passed, place := int64(0), next()
	g.each(func(first, count int64) {
		for ; place < passed+count; place = next() {
			ids = append(ids, first+place-passed)
		}
		passed += count
	})
	return ids, all
}
