package audit

import (
	"context"
	"errors"
	"math"
	"strings"

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
		visited = map[string]bool{}
	)
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
		if page.Next == "" || len(page.Orders) == 0 {
			return found, nil
		}
		if visited[page.Next] {
			a.note("the listing turns in a circle: its cursor came back")
			return found, nil
		}
		visited[page.Next] = true
		cursor = page.Next
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
	if o.Key != nil {
		index, n, ok := orders.Parse(a.run, *o.Key)
		b := a.books[index]
		if !ok || b == nil || n >= len(b.marks) {
			if !strings.HasPrefix(*o.Key, a.prefix()) {
				a.listing.foreign = true
			}
			return false
		}
		a.apply(b, n, o)
		return true
	}
	a.listing.keyless = true
	number, ok := orders.NumberOf(o.CustomerName, o.ProductName, int(o.Quantity), float64(o.Price))
	if !ok {
		return false
	}
	index, n := orders.Place(number)
	b := a.books[index]
	if b == nil || n >= len(b.marks) {
		return false
	}
	// Every run's Customer 7 looks alike. Another than the one that was answered is only this run's if it was made among its orders.
	if id := int64(o.ID); id != b.id(n) && (id < b.first || id > b.last+b.tail()) {
		return false
	}
	a.apply(b, n, o)
	return true
}

// tail is how far beyond the accepted orders one may still be this run's: what was under way at its end, more or less.
func (b *book) tail() int64 { return 16 + min(int64(len(b.marks)/20), 240) }

func (a *Auditor) apply(b *book, n int, o *client.Order) {
	if !b.apply(n, o) || o.CreatedAt.IsZero() || o.CompletedAt.IsZero() {
		return
	}
	took := max(0, o.CompletedAt.Sub(o.CreatedAt.Time))
	a.e2e.Record(took)
	a.created.add(o.CreatedAt.Time)
	a.finished.add(o.CompletedAt.Time)
	if a.opt.Completed != nil {
		a.opt.Completed(b.ledger.SentAt(n), took)
	}
}

func (a *Auditor) accepted() int { return a.tally().Accepted }
