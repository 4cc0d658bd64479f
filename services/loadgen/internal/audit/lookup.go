package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
)

// lookup asks one by one for the orders that `which` picks, and returns how many were there under the ids that they were known by.
func (a *Auditor) lookup(ctx context.Context, which func(b *book, n int) bool) (int, error) {
	type item struct {
		b *book
		n int
	}
	var items []item
	for _, b := range a.books {
		for n := range b.marks {
			if which(b, n) {
				items = append(items, item{b, n})
			}
		}
	}
	shows, there := a.listing, 0
	var mu sync.Mutex // of the books and there
	err := a.each(ctx, len(items), func(ctx context.Context, i int) error {
		b, n := items[i].b, items[i].n
		mu.Lock()
		id := b.id(n)
		mu.Unlock()
		o, found, why, err := a.find(ctx, shows, b, n, id)
		if err != nil {
			return err
		}
		if !found {
			mu.Lock()
			other := b.promote(n)
			switch {
			case slices.Contains(b.seconds[n], other):
				b.marks[n] &^= misnamed // another answer named it rightly; the wrong one was the duplicate's
			case other != 0:
				b.stranger(n, fmt.Sprintf("answered with id %d, which is not this order's: that is %d", id, other))
			case why != "":
				b.stranger(n, why)
			}
			mu.Unlock()
			if other != 0 {
				o, found, _, err = a.find(ctx, shows, b, n, other)
				if err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if !found {
			b.miss(n)
			return nil
		}
		if int64(o.ID) == id {
			there++
		}
		a.apply(b, n, &o)
		return nil
	})
	return there, err
}

// find asks for order n by its id, or by its key when no answer named one. An answer that is another order is not order n: why says which it is.
func (a *Auditor) find(ctx context.Context, shows listing, b *book, n int, id int64) (o client.Order, found bool, why string, err error) {
	if id == 0 {
		o, found, err = a.byKey(ctx, shows, b, n)
		return o, found, "", err
	}
	o, found, err = a.order(ctx, id)
	if err != nil || !found || (int64(o.ID) == id && b.names(n, &o)) {
		return o, found, "", err
	}
	other := fmt.Sprintf("%q", o.CustomerName)
	if o.Key != nil {
		other = *o.Key
	}
	return o, false, fmt.Sprintf("id %d is another order: %s", id, other), nil
}

// unseen are the orders that a full look at the listing has not shown.
func unseen(b *book, n int) bool {
	return b.marks[n]&seen == 0 && (b.ledger.State(n) == ledger.Accepted || b.adopt[n] != 0)
}

// order asks for one order by its id. Only a 404 or 410 says that it is not there; an api that refuses to say so (401, say) cannot be audited.
func (a *Auditor) order(ctx context.Context, id int64) (o client.Order, found bool, err error) {
	err = a.ask(ctx, func() (err error) { o, found, err = a.api.Order(ctx, id); return err })
	return o, found, err
}

// byKey asks for an order whose id no answer named.
func (a *Auditor) byKey(ctx context.Context, shows listing, b *book, n int) (client.Order, bool, error) {
	if !shows.filters() {
		return client.Order{}, false, nil
	}
	key := b.keys.String(n, b.ledger.Bulk)
	var page client.Page
	err := a.ask(ctx, func() (err error) { page, err = a.api.List(ctx, key, "", 2); return err })
	if err != nil {
		if refusal(err) {
			err = nil
		}
		return client.Order{}, false, err
	}
	for _, o := range page.Orders {
		if o.Key != nil && *o.Key == key {
			return o, true, nil
		}
	}
	return client.Order{}, false, nil
}

// lookupConflicts asks for the second ids of orders that were answered with two.
func (a *Auditor) lookupConflicts(ctx context.Context) error {
	for _, b := range a.books {
		for n, ids := range b.seconds {
			for _, id := range ids {
				o, found, err := a.order(ctx, id)
				if err != nil {
					return err
				}
				if found && int64(o.ID) == id && b.names(n, &o) {
					a.apply(b, n, &o)
				}
			}
		}
	}
	return nil
}

// probeGaps looks at the ids between the run's own: what a listing by key does not show, an order made a second time without its key
// say, stands there. Where the whole listing was read this is not needed.
func (a *Auditor) probeGaps(ctx context.Context) error {
	if a.listing.limit != 0 && !a.listing.partly && !a.listing.filters() {
		return nil
	}
	gaps, ok := a.gaps()
	if !ok {
		a.note("the ids between the run's own are too many and were not looked at: orders made a second time without a key could not be seen")
		return nil
	}
	var mu sync.Mutex
	return a.each(ctx, len(gaps), func(ctx context.Context, i int) error {
		o, found, err := a.order(ctx, gaps[i])
		if err != nil || !found {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		shows := a.listing
		a.take(&o)
		a.listing = shows // one order says nothing about the listing
		return nil
	})
}

// probeListed asks for some of the orders that the listing showed by their ids, spread over the run: all of a small one. An api must know what it lists.
func (a *Auditor) probeListed(ctx context.Context) error {
	every := max(1, (a.size()+a.few-1)/a.few)
	var ids []probe
	for _, b := range a.books {
		for n := range b.marks {
			if n%every == 0 && b.marks[n]&seen != 0 && a.listing.limit != 0 {
				ids = append(ids, probe{b, n})
			}
		}
	}
	a.asked = len(ids)
	for range 2 { // what is not there in one look is asked for again
		var missing []probe
		var mu sync.Mutex
		err := a.each(ctx, len(ids), func(ctx context.Context, i int) error {
			o, found, err := a.order(ctx, ids[i].b.id(ids[i].n))
			if err != nil || (found && ids[i].b.names(ids[i].n, &o)) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, ids[i])
			return nil
		})
		if refusal(err) {
			a.note("GET /orders/{id} could not be checked: " + err.Error())
			missing, err = nil, nil
		}
		if err != nil {
			return err
		}
		ids = missing
	}
	for _, p := range ids {
		p.b.marks[p.n] |= hidden
	}
	return nil
}

// gaps are the ids from a little before the first accepted order to a little beyond the last that are none of the run's known
// orders, whichever of its generators made them; false when there are too many to look at (more than a twentieth of the run, or a thousand),
// as when other clients are busy.
func (a *Auditor) gaps() ([]int64, bool) {
	var first, last, tail int64
	for _, b := range a.books {
		if b.first != 0 && (first == 0 || b.first < first) {
			first = b.first
		}
		last, tail = max(last, b.last), max(tail, b.tail())
	}
	if first == 0 {
		return nil, true
	}
	most := max(1_000, a.size()/20)
	from := max(1, first-tail)
	width := last + tail - from + 1
	if width > int64(a.size()+most) {
		return nil, false
	}
	own := make([]bool, width)
	set := func(id int64) {
		if i := id - from; i >= 0 && i < width {
			own[i] = true
		}
	}
	for _, b := range a.books {
		for n := range b.marks {
			if b.marks[n]&(misnamed|lost) != misnamed|lost { // else its id is another's, which may be nobody's that is known
				set(b.id(n))
			}
		}
		for _, ids := range b.extra {
			for _, id := range ids {
				set(id)
			}
		}
	}
	var gaps []int64
	for i, mine := range own {
		if !mine {
			gaps = append(gaps, from+int64(i))
		}
	}
	return gaps, len(gaps) <= most
}

// each runs f for 0 to n-1, Concurrency at a time, and returns the first error, after which nothing new is begun.
func (a *Auditor) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(1, a.opt.Concurrency), n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
