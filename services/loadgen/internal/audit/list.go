package audit

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

// listing is what is known of the api's GET /orders: the way of asking that it answered.
type listing struct {
	known    bool
	filtered bool // the prefix filter is asked for
	limit    int  // 0 = not usable at all
	keyless  bool // it shows orders without their keys
	foreign  bool // it shows other runs' orders, so it does not filter
	partly   bool // it did not show an order that was there
}

// filters says that the listing shows the run's orders and no others, with their keys.
func (l listing) filters() bool { return l.limit != 0 && l.filtered && !l.foreign && !l.keyless }

// attempts are the ways to ask, best first.
var attempts = [...]listing{
	{known: true, filtered: true, limit: pageLimit},
	{known: true, filtered: true, limit: 100},
	{known: true, filtered: true, limit: 20},
	{known: true, limit: pageLimit},
	{known: true, limit: 100},
	{known: true, limit: 20},
	{known: true, limit: 0},
}

// list goes through the listing and takes in every order of the run that it shows.
func (a *Auditor) list(ctx context.Context) error {
	if !a.listing.known {
		for _, way := range attempts {
			a.listing = way
			a.begin() // what another way showed says nothing about what this one leaves out
			if way.limit == 0 {
				a.note("GET /orders is of no use here: orders were asked for one by one")
				return nil
			}
			found, err := a.walk(ctx)
			switch {
			case refusal(err):
				continue
			case err != nil:
				return err
			case way.filtered && (a.listing.keyless || (found == 0 && a.accepted() > 0)):
				continue // a filter that lets nothing through may be one that does not work, and without keys nobody can tell
			}
			return nil
		}
	}
	if a.listing.limit == 0 {
		return nil
	}
	_, err := a.walk(ctx)
	if refusal(err) {
		return nil // what was not seen is asked for by id
	}
	return err
}

// refusal says that the api does not take this question.
func refusal(err error) bool {
	var e *client.Error
	return err != nil && errors.As(err, &e) && !errors.Is(err, ErrUnreachable)
}

// walk pages through the listing once. It returns how many of the run's orders it found.
func (a *Auditor) walk(ctx context.Context) (int, error) {
	var (
		prefix  string
		cursor  string
		found   int
		rows    int
		falling = true // ids fall from row to row: newest first
		before  = int64(math.MaxInt64)
		pages   = newWalker(a.opt.Patience)
	)
	a.relisted = 0
	if a.listing.filtered {
		prefix = a.prefix()
	}
	oldest, most := a.bounds()
	for {
		var page client.Page
		if err := a.ask(ctx, func() (err error) { page, err = a.api.List(ctx, prefix, cursor, a.listing.limit); return err }); err != nil {
			if cursor != "" && refusal(err) {
				a.note("the listing broke off: " + err.Error())
				return found, nil
			}
			return found, err
		}
		foundBefore := found
		for i := range page.Orders {
			o := &page.Orders[i]
			if a.take(o) {
				found++
			}
			id := int64(o.ID)
			falling = falling && id < before
			before = id
		}
		rows += len(page.Orders)
		next, why := pages.next(&page, found > foundBefore)
		if why != "" {
			a.relisted = 0 // of course
			a.note(why)
		}
		if next == "" {
			return found, nil
		}
		cursor = next
		// An unfiltered listing holds everything that ever was. Below the run's first order there is nothing to find.
		if !a.listing.filters() {
			if falling && (before < oldest || (oldest == 0 && rows > most)) {
				return found, nil
			}
		}
	}
}

func (a *Auditor) prefix() string {
	if len(a.books) == 1 {
		for _, b := range a.books {
			return b.keys.Prefix()
		}
	}
	return a.run + "-"
}

// bounds are the lowest id worth looking at, and, when no order was accepted, how many rows are.
func (a *Auditor) bounds() (oldest int64, most int) {
	for _, b := range a.books {
		if b.first != 0 && (oldest == 0 || b.first < oldest) {
			oldest = b.first
		}
	}
	if oldest != 0 {
		// An order that was never answered may have come a little before the first that was.
		oldest = max(1, oldest-fewOrders)
	}
	return oldest, 2*a.size() + 10*fewOrders
}

// take finds out whose order this is and notes it. It returns true when it is one of the run's.
func (a *Auditor) take(o *client.Order) bool {
	if o.ID == 0 {
		return false
	}
	if o.Key != nil && *o.Key != "" {
		index, n, ok := orders.Parse(a.run, *o.Key)
		b := a.books[index]
		if !ok || b == nil || n >= len(b.marks) {
			if !strings.HasPrefix(*o.Key, a.prefix()) {
				a.listing.foreign = true
			}
			return false
		}
		a.put(b, n, o)
		return true
	}
	a.listing.keyless = true
	number, ok := orders.NumberOf(o.CustomerName)
	if !ok {
		return false
	}
	index, n := orders.Place(number)
	b := a.books[index]
	if b == nil || n >= len(b.marks) {
		return false
	}
	// Every run's Customer 7 looks alike. Another than the one that was answered is only this run's if it was made among its orders, just like it.
	if id := int64(o.ID); id != b.id(n) && (id < b.first || id > b.last+b.tail() || b.deviation(n, o) != "") {
		return false
	}
	a.put(b, n, o)
	return true
}

// put notes a row of the listing.
func (a *Auditor) put(b *book, n int, o *client.Order) {
	if b.marks[n]&seen != 0 && int64(o.ID) == b.id(n) {
		a.relisted++
	}
	a.apply(b, n, o)
}

// tail is how far beyond the accepted orders one may still be this run's: what was under way at its end, more or less.
func (b *book) tail() int64 { return 16 + min(int64(len(b.marks)/20), 240) }

func (a *Auditor) apply(b *book, n int, o *client.Order) {
	a.effects = a.effects || o.Effects != nil
	for _, t := range []time.Time{o.CreatedAt.Time, o.CompletedAt.Time} {
		if t.After(a.newest) {
			a.newest = t
		}
	}
	if !b.apply(n, o) || o.CreatedAt.IsZero() || o.CompletedAt.IsZero() || b.marks[n]&backward != 0 {
		return
	}
	took := o.CompletedAt.Sub(o.CreatedAt.Time)
	a.e2e.Record(took)
	a.created.add(o.CreatedAt.Time)
	a.finished.add(o.CompletedAt.Time)
	if a.opt.Completed != nil {
		a.opt.Completed(b.ledger.SentAt(n), took)
	}
}

func (a *Auditor) accepted() int { return a.tally().Accepted }
