package audit

import (
	"context"
	"sync"
	"sync/atomic"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
)

// lookup asks for orders one by one: after a full look those that the listing did not show, otherwise those whose fate is open.
func (a *Auditor) lookup(ctx context.Context, full bool) error {
	type item struct {
		b *book
		n int
	}
	var items []item
	for _, b := range a.books {
		for n := range b.marks {
			unseen := full && b.marks[n]&seen == 0 && (b.ledger.State(n) == ledger.Accepted || b.adopt[n] != 0)
			if unseen || (!full && b.open(n)) {
				items = append(items, item{b, n})
			}
		}
	}
	shows := a.listing
	var mu sync.Mutex // of the books and the listing
	return a.each(ctx, len(items), func(ctx context.Context, i int) error {
		b, n := items[i].b, items[i].n
		mu.Lock()
		id := b.id(n)
		mu.Unlock()
		var (
			o     client.Order
			found bool
			err   error
		)
		if id != 0 {
			o, found, err = a.order(ctx, id)
		} else {
			o, found, err = a.byKey(ctx, shows, b, n)
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if !found {
			b.miss(n)
			return nil
		}
		if full && a.listing.limit != 0 && !a.listing.partly {
			a.listing.partly = true
			a.note("the listing does not show every order that GET /orders/{id} knows")
		}
		a.apply(b, n, &o)
		return nil
	})
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
		for _, c := range b.ledger.Conflicts() {
			o, found, err := a.order(ctx, c.Second)
			if err != nil {
				return err
			}
			if found {
				a.apply(b, c.N, &o)
			}
		}
	}
	return nil
}

// maxGaps bounds how many ids between the run's orders are looked at: a twentieth of the run, or a thousand.
func (b *book) maxGaps() int { return max(1_000, len(b.marks)/20) }

// probeGaps looks at the ids between the run's own: what a listing by key does not show, an order made a second time without its key
// say, stands there. Where the whole listing was read this is not needed.
func (a *Auditor) probeGaps(ctx context.Context) error {
	if a.listing.limit != 0 && !a.listing.partly && !a.listing.filters() {
		return nil
	}
	for _, b := range a.books {
		gaps, ok := b.gaps()
		if !ok {
			continue
		}
		var mu sync.Mutex
		if err := a.each(ctx, len(gaps), func(ctx context.Context, i int) error {
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
		}); err != nil {
			return err
		}
	}
	return nil
}

// gaps are the ids from a little before the first accepted order to a little beyond the last that are none of the run's known
// orders; false when there are too many to look at, as when other clients are busy.
func (b *book) gaps() ([]int64, bool) {
	if b.first == 0 {
		return nil, false
	}
	from := max(1, b.first-b.tail())
	width := b.last + b.tail() - from + 1
	if width > int64(len(b.marks)+b.maxGaps()) {
		return nil, false
	}
	own := make([]bool, width)
	set := func(id int64) {
		if i := id - from; i >= 0 && i < width {
			own[i] = true
		}
	}
	for n := range b.marks {
		set(b.id(n))
	}
	for _, ids := range b.extra {
		for _, id := range ids {
			set(id)
		}
	}
	var gaps []int64
	for i, mine := range own {
		if !mine {
			gaps = append(gaps, from+int64(i))
		}
	}
	return gaps, len(gaps) <= b.maxGaps()
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
