// Package audit accounts for every order of a run through the api alone: each that was accepted must be found, completed or dead, once.
//
// It believes nothing that it can check. Whether a listing really was filtered by key is seen from what it holds; an order that
// a listing does not show is asked for by its id, twice, before it is called lost; and what a server does not show (keys,
// effects) is made up for from what it does. It only reads: an audit never changes what it audits.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// API is what the audit reads; client.Client is one.
type API interface {
	Order(ctx context.Context, id int64) (client.Order, bool, error)
	List(ctx context.Context, prefix, cursor string, limit int) (client.Page, error)
	Queue(ctx context.Context) (client.Queue, error)
}

// Options say how patient the audit is.
type Options struct {
	Patience    time.Duration // orders still pending this long after the last progress are stuck
	Poll        time.Duration // least time between two looks
	Confirm     time.Duration // time between the two looks after which a missing order is lost
	Linger      time.Duration // how long to wait for the queue to be empty once every order is settled
	NoEffects   bool          // that none of the completed orders shows an effect is how this api is, and no fault of the orders
	Concurrency int           // requests under way at most
	Log         *slog.Logger
	Progress    func(Progress)                           // told after each look; may be nil
	Completed   func(sent time.Time, took time.Duration) // told of each completed order once; may be nil
}

// DefaultOptions are what the command uses, but for the patience.
func DefaultOptions(patience time.Duration) Options {
	return Options{
		Patience: patience, Poll: 250 * time.Millisecond, Confirm: time.Second, Linger: min(patience, 30*time.Second), Concurrency: 8,
		Log: slog.New(slog.DiscardHandler),
	}
}

// Progress is how far it is.
type Progress struct {
	Accepted  int
	Completed int
	Dead      int
	Pending   int
	Missing   int
	Estimated bool // Completed is an estimate from the queue's depth: the orders themselves were not looked at yet
}

const (
	// A run up to this many orders is simply looked at again and again; a larger one only when there is reason to think it is done.
	smallRun = 5_000
	// Up to this many orders are asked for one by one rather than by listing all again.
	fewOrders = 1_000
	pageLimit = 1_000
)

// Run is one generator's part of a run: its keys and what it knows of its orders.
type Run struct {
	Keys   orders.Keys
	Ledger *ledger.Ledger
	Notes  []string // remarks on how that became known
	Strays int      // keys that are numbered far beyond the others: neither they nor what was before them are accounted for
}

// Auditor audits runs, once.
type Auditor struct {
	api   API
	opt   Options
	books map[int]*book // by generator index
	run   string

	small, few int // smallRun and fewOrders, but in tests

	listing  listing
	requests atomic.Int64
	contact  atomic.Int64 // when the api last answered, in Unix nanoseconds
	depth    int          // of the queue when it was last asked; -1 = it does not say
	asOf     time.Time    // when the queue was that deep; zero = it does not say
	silent   bool         // the queue may be asked again: not to have heard from it says nothing
	newest   time.Time    // when the last of the run's orders was made or completed, as far as was seen
	lowest   int          // that it has been; -1 = never asked
	effects  bool         // the api shows how often an order had its effect
	unlisted int          // orders that the listing did not show, in the last full look
	relisted int          // orders that it showed twice, in the last walk
	strays   int
	asked    int  // orders that were listed and asked for by their ids all the same
	looked   bool // at all orders, at least once
	notes    []string
	e2e      *measure.Histogram
	created  span
	finished span
}

// New prepares the audit of a run's parts; all have the same run id.
func New(api API, opt Options, parts ...Run) *Auditor {
	a := &Auditor{small: smallRun, few: fewOrders, api: api, opt: opt, books: map[int]*book{}, depth: -1, lowest: -1, e2e: measure.NewHistogram()}
	for _, p := range parts {
		a.run = p.Keys.Run
		a.books[p.Keys.Index] = newBook(p)
		a.strays += p.Strays
		for _, text := range p.Notes {
			a.note(text)
		}
	}
	a.suspectShared()
	return a
}

// suspectShared marks the orders that were answered with one and the same id. Whichever it is, is cleared when the api shows it.
func (a *Auditor) suspectShared() {
	type named struct {
		id int64
		b  *book
		n  int
	}
	all := make([]named, 0, a.size())
	for _, b := range a.books {
		for n := range b.marks {
			if id := b.ledger.ID(n); id != 0 {
				all = append(all, named{id, b, n})
			}
		}
	}
	slices.SortFunc(all, func(x, y named) int { return cmp.Compare(x.id, y.id) })
	for i := 1; i < len(all); i++ {
		if x, y := all[i-1], all[i]; x.id == y.id {
			why := fmt.Sprintf("answered with id %d, as another order was", x.id)
			x.b.stranger(x.n, why)
			y.b.stranger(y.n, why)
		}
	}
}

// Account is what is known before anything was looked at: for a report that cannot wait.
func (a *Auditor) Account() Result { return a.result(a.tally(), time.Now()) }

// ErrUnreachable is wrapped when the api did not answer for as long as the audit's patience.
var ErrUnreachable = errors.New("the api did not answer")

// Run waits until every order is settled, or nothing has moved for as long as the patience lasts, and returns the account. With an
// error, because the api could not be asked or the context ended, the account is what was known until then.
func (a *Auditor) Run(ctx context.Context) (Result, error) {
	begun := time.Now()
	err := a.settle(ctx, begun)
	r := a.result(a.tally(), begun)
	if err != nil {
		return r, fmt.Errorf("audit: %w", err)
	}
	return r, nil
}

func (a *Auditor) settle(ctx context.Context, begun time.Time) error {
	a.contact.Store(begun.UnixNano())
	var (
		moved      = begun    // when something was last seen to move
		settledAt  time.Time  // since when every order's fate is known; zero = it is not
		open       = a.size() // orders whose fate was open after the look before
		full       = true     // this look is at all orders
		conclusive = false    // a look at all orders began with the queue empty: no more effects can have come since
		probed     = false    // the ids between the run's own were looked at
	)
	for {
		if a.size() > a.small {
			if err := a.await(ctx, &moved); err != nil {
				return err
			}
		}
		if a.askQueue(ctx) {
			moved = time.Now()
		}
		looked := time.Now()
		if err := a.look(ctx, full); err != nil {
			return err
		}
		drained := a.drained()
		conclusive = conclusive || (full && drained)
		now := time.Now()
		t := a.tally()
		if t.unsettled < open {
			moved = now
		}
		open = t.unsettled
		a.report(t)

		var over bool // nothing more is to be expected
		if t.unsettled+t.unconfirmed == 0 {
			if settledAt.IsZero() {
				settledAt = now
			}
			// A message that is still in the queue may bring a second effect, and only a look at all orders sees one.
			over = drained || conclusive || now.Sub(settledAt) >= a.opt.Linger
		} else {
			settledAt = time.Time{}
			over = looked.Sub(moved) >= a.opt.Patience // the last look is one after the patience, however long looks take
		}
		if over && (full || conclusive) {
			if probed {
				return a.confirm(ctx)
			}
			probed = true
			if err := a.probeGaps(ctx); err != nil {
				return err
			}
			if err := a.probeListed(ctx); err != nil {
				return err
			}
			if a.tally().unsettled == t.unsettled {
				return a.confirm(ctx)
			}
			moved, over = time.Now(), false // an order has turned up that was not known of
		}
		full = over || a.size() <= a.small || t.unsettled > a.few
		if !over && !a.pause(ctx, t, now.Sub(looked)) {
			return ctx.Err()
		}
	}
}

// pause waits before the next look: longer where looking takes long, so that the audit is a small part of the api's work.
func (a *Auditor) pause(ctx context.Context, t tally, took time.Duration) bool {
	d := max(a.opt.Poll, min(4*took, 5*time.Second))
	if t.unsettled == 0 && t.unconfirmed > 0 {
		d = max(d, a.opt.Confirm)
	}
	return wait(ctx, d)
}

func (a *Auditor) size() int {
	n := 0
	for _, b := range a.books {
		n += b.ledger.Len()
	}
	return n
}

// look brings the books up to date: from the listing when full (or when nothing else would do), and by id for what that leaves open.
func (a *Auditor) look(ctx context.Context, full bool) error {
	if full {
		a.begin()
		if err := a.list(ctx); err != nil {
			return err
		}
	}
	if !full {
		_, err := a.lookup(ctx, (*book).open)
		return err
	}
	// First the second ids: an order whose first answer named a wrong one is known by them.
	if err := a.lookupConflicts(ctx); err != nil {
		return err
	}
	there, err := a.lookup(ctx, unseen)
	a.looked = a.looked || err == nil
	if a.unlisted = 0; a.listing.limit != 0 {
		a.unlisted, a.listing.partly = there, a.listing.partly || there > 0
	}
	return err
}

// confirm takes the second look at the orders that the last one missed for the first time.
func (a *Auditor) confirm(ctx context.Context) error {
	if a.tally().unconfirmed == 0 {
		return nil
	}
	if !wait(ctx, a.opt.Confirm) {
		return ctx.Err()
	}
	_, err := a.lookup(ctx, func(b *book, n int) bool { return b.open(n) && b.marks[n]&missed != 0 })
	return err
}

// begin starts a new look at all orders.
func (a *Auditor) begin() {
	for _, b := range a.books {
		b.begin()
	}
}

// askQueue asks for the queue's depth, and returns true when it is lower than ever: then the consumers are at work, if only on what
// stands before the run's own orders. Merely lower than last time it is every few seconds when others fill it, too.
func (a *Auditor) askQueue(ctx context.Context) bool {
	a.requests.Add(1)
	a.depth, a.asOf = -1, time.Time{}
	q, err := a.api.Queue(ctx)
	var e *client.Error
	a.silent = errors.As(err, &e) && e.Passing()
	if err != nil || q.Depth < 0 {
		return false
	}
	a.depth, a.asOf = q.Depth, q.AsOf.Time
	if a.lowest >= 0 && q.Depth >= a.lowest {
		return false
	}
	a.lowest = q.Depth
	return true
}

// drained is true when the queue was empty after the last of the run's orders was made and completed, so that no message of theirs can
// be left. An api may answer with what it saw a moment ago: before the run, the queue was empty as well. An api without a queue to ask is
// believed to have none.
func (a *Auditor) drained() bool {
	if a.depth < 0 {
		return !a.silent
	}
	return a.depth == 0 && (a.asOf.IsZero() || !a.asOf.Before(a.newest))
}

func (a *Auditor) report(t tally) {
	if a.opt.Progress != nil {
		a.opt.Progress(Progress{Accepted: t.Accepted, Completed: t.Completed, Dead: t.Dead, Pending: t.unsettled, Missing: t.missing})
	}
}

// note keeps a remark for the report, once.
func (a *Auditor) note(text string) {
	for _, n := range a.notes {
		if n == text {
			return
		}
	}
	a.notes = append(a.notes, text)
	a.opt.Log.Info("audit", slog.String("note", text))
}

// ask calls the api until it gives a definite answer. Faults that pass are waited out for as long as the patience lasts since the
// last answer of any kind; a Retry-After is honoured as far as that reaches.
func (a *Auditor) ask(ctx context.Context, call func() error) error {
	for try := 0; ; try++ {
		a.requests.Add(1)
		err := call()
		var e *client.Error
		if err == nil || !errors.As(err, &e) || !e.Passing() {
			a.contact.Store(time.Now().UnixNano())
			return err
		}
		left := max(a.opt.Patience, time.Second) - time.Since(time.Unix(0, a.contact.Load()))
		if left <= 0 {
			return fmt.Errorf("%w for %s: %w", ErrUnreachable, time.Since(time.Unix(0, a.contact.Load())).Round(time.Second), err)
		}
		pause := max(e.RetryAfter, min(time.Second, 50*time.Millisecond<<min(try, 10)))
		if !wait(ctx, min(pause, left)) {
			return ctx.Err()
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// span is the earliest and latest of some times.
type span struct{ first, last time.Time }

func (s *span) add(t time.Time) {
	if s.first.IsZero() || t.Before(s.first) {
		s.first = t
	}
	if t.After(s.last) {
		s.last = t
	}
}
