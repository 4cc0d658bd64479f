package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// look brings the books up to date: from a list of all orders, and by id for those that it does not show; or only by id, for the open ones.
func (a *Auditor) look(ctx context.Context, list bool) error {
	if !list {
		_, err := a.lookup(ctx, (*book).open)
		a.count()
		return err
	}
	for _, b := range a.books {
		for n := range b.orders {
			b.orders[n].mark &^= seen
		}
	}
	prefix := a.run + "-"
	if len(a.books) == 1 {
		prefix = a.books[0].keys.Prefix()
	}
	if err := a.read.Each(ctx, prefix, a.file); err != nil {
		return err
	}
	found, err := a.lookup(ctx, func(b *book, n int) bool {
		return b.orders[n].mark&seen == 0 && (b.ledger.State(n) == ledger.Accepted || b.orders[n].id != 0)
	})
	if err == nil {
		a.looked, a.unlisted = true, found
	}
	a.count()
	return err
}

// confirm looks once more for the orders that the last look missed for the first time. What it misses again is lost.
func (a *Auditor) confirm(ctx context.Context) error {
	if a.tally.unconfirmed == 0 {
		return nil
	}
	if !wait.For(ctx, a.opt.Confirm) {
		return ctx.Err()
	}
	_, err := a.lookup(ctx, func(b *book, n int) bool { return b.open(n) && b.orders[n].mark&missed != 0 })
	a.count()
	return err
}

// file notes an order that the api shows in its book, if it is one of the run's.
func (a *Auditor) file(o *client.Order) {
	b, n, wrong := a.whose(o.Key)
	switch {
	case b == nil:
	case wrong:
		a.poison[o.ID] = *o
	case n < len(b.orders):
		newly := b.see(n, o)
		a.newest = latest(a.newest, o.CreatedAt, o.CompletedAt)
		if a.oldest.IsZero() || o.CreatedAt.Before(a.oldest) {
			a.oldest = o.CreatedAt
		}
		if newly && !o.CompletedAt.IsZero() {
			a.created, a.finished = latest(a.created, o.CreatedAt), latest(a.finished, o.CompletedAt)
			a.e2e.Record(o.CompletedAt.Sub(o.CreatedAt))
		}
	}
}

// whose finds the book of a key, and its number there, unless it is that of an invalid request; nil when it is none of the run's.
func (a *Auditor) whose(key string) (b *book, n int, wrong bool) {
	index, n, ok := orders.Parse(a.run, key)
	if !ok {
		index, wrong = orders.ParseWrong(a.run, key)
	}
	if !ok && !wrong {
		return nil, 0, false
	}
	return a.book(index), n, wrong
}

// book is a generator's; nil when it is none of the run's.
func (a *Auditor) book(index int) *book {
	if i := slices.IndexFunc(a.books, func(b *book) bool { return b.keys.Index == index }); i >= 0 {
		return a.books[i]
	}
	return nil
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// lookup asks one by one for the orders that `which` picks, and returns how many were there.
func (a *Auditor) lookup(ctx context.Context, which func(b *book, n int) bool) (found int, err error) {
	var mu sync.Mutex // of the books and found
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(a.opt.Concurrency)
	for _, b := range a.books {
		for n := range b.orders {
			mu.Lock()
			wanted, id := which(b, n), b.id(n)
			mu.Unlock()
			if !wanted || ctx.Err() != nil {
				continue
			}
			group.Go(func() error {
				o, there, err := client.Order{}, false, error(nil)
				if id != 0 {
					o, there, err = a.read.Order(ctx, id)
				}
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case there && b.isOrder(n, &o):
					found++
					a.file(&o)
				case there:
					b.miss(n, fmt.Sprintf("id %d is another order: %s", id, orders.Readable(o.Key)))
				default:
					b.miss(n, "")
				}
				return nil
			})
		}
	}
	return found, group.Wait()
}

// probeGaps looks at the ids between the run's own: an order made a second time without its key stands there, where no listing by key
// shows it. Where other clients are busy, or an api makes every order again, these ids are too many to look at each.
func (a *Auditor) probeGaps(ctx context.Context) error {
	ids, all := a.gaps().pick(max(1_000, a.size/20))
	looked := int64(len(ids))
	if looked != all {
		a.note("the ids between the run's own are too many to look at each: %d of %d were, and an order made a second time without a key may be among the others", looked, all)
	}
	alone := looked == all
	var unkeyed []*client.Order
	err := a.each(ctx, ids, func(o *client.Order) {
		if b, _, _ := a.whose(o.Key); b == nil {
			alone = false
		}
		if o.Key == "" {
			unkeyed = append(unkeyed, o)
		} else {
			a.file(o)
		}
	})
	if err != nil {
		return err
	}
	a.alone = alone
	return a.fileUnkeyed(ctx, unkeyed)
}

// each asks for orders by their ids, and calls use with those that are there, one at a time.
func (a *Auditor) each(ctx context.Context, ids []int64, use func(o *client.Order)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(a.opt.Concurrency)
	for _, id := range ids {
		group.Go(func() error {
			o, there, err := a.read.Order(ctx, id)
			if err != nil || !there {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			use(&o)
			return nil
		})
	}
	return group.Wait()
}

// fileUnkeyed notes orders without a key that are orders of the run made again. They have the data of one, and were made when it was: other
// clients may well order the same (the Python example's does), before the run or beside it.
func (a *Auditor) fileUnkeyed(ctx context.Context, unkeyed []*client.Order) error {
	type alike struct {
		*client.Order
		book *book
		n    int
	}
	var found []alike
	var ids []int64
	for _, o := range unkeyed {
		number, ok := o.Number()
		index, n := orders.Place(number)
		if b := a.book(index); ok && b != nil && n < len(b.orders) {
			found = append(found, alike{o, b, n})
			if id := b.orders[n].id; id != 0 {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	first := map[int64]*client.Order{} // the run's own, by id
	if err := a.each(ctx, slices.Compact(ids), func(o *client.Order) { first[o.ID] = o }); err != nil {
		return err
	}
	others, alone := 0, 0
	for _, o := range found {
		switch own := first[o.book.orders[o.n].id]; {
		case own == nil: // refused, never answered, or lost: nothing tells when it was made
			alone++
		case !a.madeWith(own, o.Order, o.book.ledger.UnderWay(o.n)):
			others++
		default:
			o.book.see(o.n, o.Order)
			a.newest = latest(a.newest, o.CreatedAt, o.CompletedAt)
		}
	}
	if alone > 0 {
		a.note("orders without a key that are like orders of the run's that are not there, and may be these: %d", alone)
	}
	if others > 0 {
		a.note("orders without a key that are like the run's, and were not made when those were: %d, another client's", others)
	}
	return nil
}

// afterwards is how long after a request's end an order may still be made for it: by an api that answers first, or by a try that was given up.
const afterwards = time.Second

// madeWith says whether an order without a key was made for the request that made an order of the run's: while that was under way. The database's
// clock tells. Where it is not known how long that was, what is older than the run's first order is none of the run's.
func (a *Auditor) madeWith(own, again *client.Order, underWay time.Duration) bool {
	if underWay == 0 {
		if again.CreatedAt.Before(a.oldest) {
			return false
		}
		underWay = a.opt.UnderWay
	}
	since := again.CreatedAt.Sub(own.CreatedAt)
	return since >= -underWay && since <= underWay+afterwards
}
