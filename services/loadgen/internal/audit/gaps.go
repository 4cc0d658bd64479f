package audit

import (
	"math/rand/v2"
	"slices"
)

// gap is a row of ids, one after the other.
type gap struct{ first, count int64 }

// gaps are the ids from a little before the run's first order to a little beyond its last that are none of its known orders.
func (a *Auditor) gaps() []gap {
	var known []int64
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
		return nil
	}
	slices.Sort(known)
	tail := int64(16 + min(a.size/20, 240)) // what may have been under way at the ends
	next := max(1, known[0]-tail)
	known = append(known, known[len(known)-1]+tail+1)
	var gaps []gap
	for _, id := range known {
		if id > next {
			gaps = append(gaps, gap{next, id - next})
		}
		next = id + 1
	}
	return gaps
}

// pick returns ids of the gaps, and how many these have: each, or one drawn of every few where they are more than most. What is drawn is spread
// over all, and falls in with no pattern in which a run's orders and other clients' take turns.
func pick(gaps []gap, most int) (ids []int64, all int64) {
	for _, g := range gaps {
		all += g.count
	}
	if all == 0 {
		return nil, 0
	}
	every := (all-1)/int64(most) + 1
	passed := int64(0) // ids of the gaps that are passed
	for i := range (all-1)/every + 1 {
		place := i*every + rand.Int64N(min(every, all-i*every))
		for place-passed >= gaps[0].count {
			passed += gaps[0].count
			gaps = gaps[1:]
		}
		ids = append(ids, gaps[0].first+place-passed)
	}
	return ids, all
}
