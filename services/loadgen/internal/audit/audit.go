// Package audit accounts for every order of a run through the api alone: each that was accepted must be found, completed or dead, once, with
// the data that were sent.
//
// It relies on what the api's contract says and on nothing else: a listing by key shows all orders whose idempotency keys begin
// with the run's, page by page, and GET /orders/{id} knows each. What the listing does not show is asked for by its id, twice, before it is
// called lost. It only reads: an audit never changes what it audits.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

// Options say how patient the audit is.
type Options struct {
	Patience    time.Duration // orders still pending this long after the last progress are stuck
	Poll        time.Duration // least time between two looks
	Confirm     time.Duration // time between the two looks after which a missing order is lost
	Linger      time.Duration // how long to wait for the queue to be empty once every order is settled
	Concurrency int           // requests under way at most
	UnderWay    time.Duration // how long a request for an order may have been, where the ledger does not know
	Before      *client.Queue // as it was before the run's first order was sent; nil when that is not known
	Log         *slog.Logger
	Progress    func(Progress) // told each time that the queue was asked, before a look or instead of one; may be nil
}

// DefaultOptions are those of an audit with this patience. The command has its own concurrency, log and progress.
func DefaultOptions(patience time.Duration) Options {
	return Options{
		Patience: patience, Poll: 250 * time.Millisecond, Confirm: time.Second, Linger: min(patience, 30*time.Second), Concurrency: 8,
		UnderWay: 70 * time.Second, Log: slog.New(slog.DiscardHandler),
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

// Part is one generator's part of a run: its keys and what it knows of its orders.
type Part struct {
	Keys   orders.Keys
	Ledger *ledger.Ledger
	Strays int // keys that are numbered far beyond the others: neither they nor what was before them are accounted for
}

// Auditor audits the parts of one run, once.
type Auditor struct {
	read   *client.Reader
	opt    Options
	run    string
	books  []*book
	size   int // orders in the books
	pages  int // requests that a listing of all of them takes
	strays int
	notes  []string

	poison      map[int64]client.Order // made of requests that were wrong on purpose, by id
	queue       *client.Queue          // as asked before the look; nil when that brought no answer
	settled     *client.Queue          // the first answer since every order is settled; nil while there is none
	lowestDepth int                    // that it has had; -1 = never asked
	newest      time.Time              // when the last of the run's orders seen was made or completed, by the database's clock

	looked       bool      // at all orders, at least once
	tally        tally     // after the last look
	open         int       // orders whose fate is open: unsettled and unconfirmed ones; before the first look that is all
	fewestOpen   int       // that there were
	lastProgress time.Time // when something was last seen to move
	unlisted     int       // orders that the last listing did not show, and that were there
	alone        bool      // the ids between the run's own, and beside them, are nobody else's: each was looked at

	oldest time.Time // when the first of the run's orders seen was made, by the same clock

	e2e               *measure.Histogram
	created, finished time.Time // when the last was made, and completed
}

// New prepares the audit of a run's parts; all have the same run id.
func New(api client.API, opt Options, parts ...Part) *Auditor {
	a := &Auditor{read: client.NewReader(api, opt.Patience), opt: opt, poison: map[int64]client.Order{}, lowestDepth: -1, e2e: measure.NewHistogram()}
	for _, p := range parts {
		a.run = p.Keys.Run
		a.books = append(a.books, newBook(p))
		a.size += p.Ledger.Len()
		a.strays += p.Strays
	}
	a.pages = a.size/client.PageLimit + 1
	a.count()
	a.open, a.fewestOpen = a.size, a.size
	return a
}

// Run waits until every order is settled, or nothing has moved for as long as the patience lasts, and returns the account. With an
// error, because the api could not be asked or the context ended, the account is what was known until then.
func (a *Auditor) Run(ctx context.Context) (Result, error) {
	begun := time.Now()
	a.lastProgress = begun
	err := a.settle(ctx)
	r := a.result(begun)
	if err != nil {
		return r, fmt.Errorf("audit: %w", err)
	}
	return r, nil
}

// settle looks at the orders again and again, until nothing more is to be expected.
func (a *Auditor) settle(ctx context.Context) error {
	for gapsProbed := false; ; {
		if err := a.awaitLook(ctx); err != nil {
			return err
		}
		begun := time.Now()
		list := a.worthListing(begun)
		if err := a.look(ctx, list); err != nil {
			return err
		}
		if !list || !a.nothingMoreComes(begun) {
			if !wait.For(ctx, a.pause(time.Since(begun))) {
				return ctx.Err()
			}
			continue
		}
		if open := a.open; !gapsProbed {
			gapsProbed = true
			if err := a.probeGaps(ctx); err != nil {
				return err
			}
			if a.count(); a.open > open {
				a.lastProgress = time.Now() // an order has turned up that was not known of
				continue
			}
		}
		return a.confirm(ctx)
	}
}

// worthListing says whether a look that begins now lists all orders, and does not only ask for the open ones by their ids: the first look does,
// and any that may be the last, and where the list takes no more requests.
func (a *Auditor) worthListing(now time.Time) bool {
	return !a.looked || a.open == 0 || a.outOfPatience(now) || a.pages <= a.open
}

// nothingMoreComes says whether the look that began at some moment may be the last: nothing had moved for too long, or every order is settled
// and the queue was empty before the look. A message that was still there may bring an order a second effect.
func (a *Auditor) nothingMoreComes(begun time.Time) bool {
	return a.outOfPatience(begun) || a.open == 0 && a.empty(a.queue)
}

// cheap is the number of requests that a look may take while the run is being processed. What takes more, listing a million orders to find
// that half are pending, would load what is being measured: it waits for a reason.
const cheap = 8

// awaitLook returns when it is time to look: the queue is empty, or nothing has moved for too long, or looking costs next to nothing.
func (a *Auditor) awaitLook(ctx context.Context) error {
	for pause := a.opt.Poll; ; pause = min(2*pause, 2*time.Second) {
		now := time.Now()
		a.askQueue(ctx)
		a.showProgress()
		if a.empty(a.queue) || a.outOfPatience(now) || a.open > 0 && min(a.open, a.pages) <= cheap {
			return ctx.Err()
		}
		if !wait.For(ctx, pause) {
			return ctx.Err()
		}
	}
}

// askQueue asks what the queue holds, and what that says of the progress.
func (a *Auditor) askQueue(ctx context.Context) {
	a.queue = nil
	q, err := a.read.Queue(ctx)
	if err != nil { // it is asked again; without it the patience decides
		return
	}
	a.queue = &q
	switch {
	case a.open > 0:
		a.settled = nil
		// A depth lower than ever is progress: then the consumers are at work, if only on what stands before the run's own orders. Merely lower
		// than last time it is every few seconds when others fill the queue, too.
		if a.lowestDepth >= 0 && q.Depth < a.lowestDepth {
			a.lastProgress = time.Now()
		}
	case a.looked && a.settled == nil:
		a.settled, a.lastProgress = &q, time.Now() // what it holds now, it has to lose within the time that is waited for it
	}
	if a.lowestDepth < 0 || q.Depth < a.lowestDepth {
		a.lowestDepth = q.Depth
	}
}

// outOfPatience says whether there had been no progress for too long at some moment: for as long as the patience lasts, or, when every order
// is settled and only the queue is not empty, as long as that is waited for.
func (a *Auditor) outOfPatience(at time.Time) bool {
	if a.open == 0 {
		return at.Sub(a.lastProgress) >= a.opt.Linger
	}
	return at.Sub(a.lastProgress) >= a.opt.Patience
}

// pause is how long to wait after a look: longer where looking takes long, so that the audit is a small part of the api's work.
func (a *Auditor) pause(took time.Duration) time.Duration {
	d := max(a.opt.Poll, min(4*took, 5*time.Second))
	if a.tally.unsettled == 0 && a.tally.unconfirmed > 0 {
		d = max(d, a.opt.Confirm)
	}
	return d
}

// empty says whether no message of the run's orders was left when the queue was like this. An api may answer with what it saw a moment ago: before
// the run, the queue was empty as well.
func (a *Auditor) empty(q *client.Queue) bool {
	return q != nil && q.Depth == 0 && !q.AsOf.Before(a.newest)
}

// showProgress tells how far it is.
func (a *Auditor) showProgress() {
	if a.opt.Progress == nil {
		return
	}
	t := &a.tally
	p := Progress{Accepted: t.Accepted, Completed: t.Completed, Dead: t.Dead, Pending: t.unsettled, Missing: t.missing}
	if !a.looked && a.queue != nil {
		p.Estimated, p.Pending = true, min(p.Accepted, a.queue.Depth)
		p.Completed = p.Accepted - p.Pending
	}
	a.opt.Progress(p)
}

// note keeps a remark for the report, once.
func (a *Auditor) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(a.notes, text) {
		a.notes = append(a.notes, text)
		a.opt.Log.Info("audit", slog.String("note", text))
	}
}
