// Package audit accounts for every order of a run through the api alone: each that was accepted must be found, completed or dead, once.
//
// It believes nothing that it can check. Whether a listing really was filtered by key is seen from what it holds; an order that
// a listing does not show is asked for by its id, twice, before it is called lost; and what a server does not show (keys,
// effects) is made up for from what it does. It only reads: an audit never changes what it audits.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	lowest   int          // that it has been; -1 = never asked
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
	}
	return a
}

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
		drained, looked := a.depth <= 0, time.Now()
		if err := a.look(ctx, full); err != nil {
			return err
		}
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
				return nil
			}
			probed = true
			if err := a.probeGaps(ctx); err != nil {
				return err
			}
			if a.tally().unsettled == t.unsettled {
				return nil
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
	if err := a.lookup(ctx, full); err != nil || !full {
		return err
	}
	return a.lookupConflicts(ctx)
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
	a.depth = -1
	q, err := a.api.Queue(ctx)
	if err != nil || q.Depth < 0 {
		return false
	}
	a.depth = q.Depth
	if a.lowest >= 0 && q.Depth >= a.lowest {
		return false
	}
	a.lowest = q.Depth
	return true
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
// last answer of any kind; a Retry-After is honoured.
func (a *Auditor) ask(ctx context.Context, call func() error) error {
	for try := 0; ; try++ {
		a.requests.Add(1)
		err := call()
		var e *client.Error
		if err == nil || !errors.As(err, &e) || !e.Passing() {
			a.contact.Store(time.Now().UnixNano())
			return err
		}
		silent := time.Since(time.Unix(0, a.contact.Load()))
		if silent > max(a.opt.Patience, time.Second) {
			return fmt.Errorf("%w for %s: %w", ErrUnreachable, silent.Round(time.Second), err)
		}
		pause := max(e.RetryAfter, min(time.Second, 50*time.Millisecond<<min(try, 10)))
		if !wait(ctx, pause) {
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
