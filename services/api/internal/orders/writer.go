package orders

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/tracing"
	"orderflow.example/kit/wait"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/durability"
)

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	State() (database.State, <-chan struct{})
	LookNow()
	// Distrust is told of a connection whose server does not finish what it is asked to.
	Distrust(conn *pgx.Conn)
}

// Observer is told what the writer does. Its methods must not block.
type Observer interface {
	// traceID is that of one of the requests, empty when none is recorded.
	Committed(requests, orders int, took time.Duration, traceID string)
	Replayed()
	Failed(kind database.Kind)
}

// WriterConfig says how a [Writer] works.
type WriterConfig struct {
	Database *pgx.ConnConfig
	Route    *postgres.Route // knows the server, for spans; nil: they do not name it
	Queue    string
	MaxBatch int // orders in one transaction; a larger request has one of its own
	MaxQueue int // orders waiting
	// Timeout is how long a request waits, and how long a statement may take. Making a connection is bounded by Database, for
	// each of its hosts, and not by this.
	Timeout time.Duration
	// Replicating tells whether a session waits for a synchronous standby. It is asked about the writer's own when a statement takes long.
	// nil: that is not asked.
	Replicating func(ctx context.Context, pid uint32) bool
	// Durability is asked about each new connection before anything is written on it, and by each request and each transaction whether orders
	// are refused.
	// nil: nobody is asked.
	Durability *durability.Checker
	// OnCommit is called after each commit that sent messages. It must not block.
	OnCommit func()
	Observer Observer
	Tracer   *tracing.Tracer // nil: none
	Log      *slog.Logger
}

// Writer writes orders and their messages. Whatever has gathered while one transaction commits shares the next one (group
// commit), so a lone request waits for nobody and a crowd costs hardly more commits than a few. Under load a transaction also waits a
// moment for more requests before it begins; see gather.
//
// One goroutine ([Writer.Run]) owns the connection. For small requests two or three would be slower: they would share the same disk's
// flushes and split the batches. [Writers] has a second one for large ones.
type Writer struct {
	cfg     WriterConfig
	monitor Monitor
	room    *room                  // of all writers
	latest  *atomic.Pointer[Draft] // order that was written by any of them; nil: none
	spare   bool                   // another one writes when this one cannot

	mu       sync.Mutex
	waiting  []*unit
	queued   int // orders in waiting
	taken    int // orders in the transaction
	expected int // requests that have to wait before the writer is woken; see gather
	closed   bool
	wake     chan struct{}

	failing     atomic.Pointer[string] // why the latest statements failed; nil: they did not
	admitOne    atomic.Bool            // one request may come in all the same
	replicating atomic.Bool            // the latest statement that took long waited for a standby
	connected   atomic.Bool            // conn is there

	// Of Run's goroutine.
	conn     *publisher
	used     time.Time // when conn last was
	pace     pace
	failures int // in a row: of connections, statements and rehearsals, other than for an order's own fault
	warned   time.Time
}

// NewWriter makes a writer; nothing is written until [Writer.Run].
func NewWriter(cfg WriterConfig, monitor Monitor) *Writer {
	return &Writer{cfg: cfg, monitor: monitor, room: &room{most: cfg.MaxQueue}, latest: new(atomic.Pointer[Draft]), wake: make(chan struct{}, 1)}
}

// Write writes a request and returns when its transaction has committed, or with an error when the writer's timeout has
// passed or there is no point in waiting. Requests without orders are the caller's mistake.
func (w *Writer) Write(req Request) (Result, error) {
	if state, _ := w.monitor.State(); !state.Up {
		return Result{}, because(ErrUnavailable, state.Reason)
	}
	if reason := w.cfg.Durability.Refusal(); reason != "" {
		return Result{}, because(ErrUnavailable, reason)
	}
	if reason := w.failing.Load(); reason != nil && !w.admitOne.CompareAndSwap(true, false) {
		return Result{}, because(ErrUnavailable, *reason)
	}
	u := newUnit(req, w.cfg.Timeout)
	if err := w.enqueue(u); err != nil {
		return Result{}, err
	}
	timer := time.NewTimer(w.cfg.Timeout)
	defer timer.Stop()
	var result Result
	var err error
	select {
	case <-u.done:
		result, err = u.result, u.err
	case <-timer.C:
		result, err = u.expire()
		if errors.Is(err, ErrUnknownOutcome) && w.replicating.Load() {
			err = because(ErrUnknownOutcome, database.Reason(database.ErrUnreplicated))
		}
	}
	if result.Replayed {
		w.cfg.Observer.Replayed()
	}
	return result, err
}

// enqueue puts a unit into the queue, and wakes the writer when enough of them wait.
func (w *Writer) enqueue(u *unit) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case w.spare && !w.connected.Load():
		return ErrUnavailable
	case !w.room.enter(len(u.Orders)):
		return ErrOverloaded
	}
	w.waiting = append(w.waiting, u)
	w.queued += len(u.Orders)
	if w.gathered(w.expected) {
		w.awaken()
	}
	return nil
}

// awaken has Run look at what there is to do.
func (w *Writer) awaken() {
	select {
	case w.wake <- struct{}{}:
	default: // it has been told already
	}
}

// Queued is the number of orders that wait for their transaction, those of other writers in the same room included.
func (w *Writer) Queued() int { return w.room.inside() }

// load is the number of orders that wait or are being written.
func (w *Writer) load() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued + w.taken
}

// writes says whether the writer has a connection, and has not failed to write on it.
func (w *Writer) writes() bool { return w.connected.Load() && w.failing.Load() == nil }

// Run writes until ctx ends; then it refuses what comes, writes what is waiting, and returns.
func (w *Writer) Run(ctx context.Context) {
	defer w.disconnect()
	var batch []*unit
	pauses := wait.Pauses{First: 20 * time.Millisecond, Longest: 500 * time.Millisecond}
	if w.spare {
		pauses.Longest = spareRetry
	}
	for {
		state, changed := w.monitor.State()
		unusable := w.ensureConnection(state)
		if unusable == nil {
			w.gather(ctx)
			if batch = w.take(batch[:0]); len(batch) > 0 {
				w.pace.begin(time.Now(), len(batch))
				w.commit(batch)
				w.pace.end(w.committed())
				clear(batch)
				continue
			}
			// Nobody waits. After failures only a rehearsal can tell that orders can be written again.
			if w.failures > 0 {
				unusable = w.rehearse()
			}
		}
		var retry <-chan time.Time
		wake := w.wake
		switch {
		case unusable == nil:
			pauses.Reset()
		case state.Up:
			retry = time.After(pauses.Next())
			if w.spare { // nobody waits for it
				wake = nil
			}
			fallthrough
		default: // the database is away: its return is a change of state
			w.refuseWaiting(unusable)
		}
		if ctx.Err() != nil && w.closeQueue() {
			return
		}
		select {
		case <-wake:
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			w.closeQueue()
		}
	}
}

// spareRetry is how often a spare writer that cannot write tries again, at least.
const spareRetry = 5 * time.Second

// gather waits until more requests have joined those that wait, where pace says that this is worth it.
func (w *Writer) gather(ctx context.Context) {
	until, requests := w.pace.next()
	left := time.Until(until)
	if left <= 0 || !w.expect(requests) {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.expected = 0
	w.mu.Unlock()
}

// expect has the writer woken no sooner than so many requests wait, or enough orders. It reports false when nobody waits, or enough do.
func (w *Writer) expect(requests int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || w.gathered(requests) {
		return false
	}
	w.expected = requests
	select {
	case <-w.wake: // of those that wait already
	default:
	}
	return true
}

// gathered tells whether so many requests wait, or enough orders. The caller holds w.mu.
func (w *Writer) gathered(requests int) bool {
	return len(w.waiting) >= requests || w.queued >= gatherOrders
}

// take removes the next batch from the queue: at most MaxBatch orders, or one request that is larger.
func (w *Writer) take(batch []*unit) []*unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	orders, n := 0, 0
	for n < len(w.waiting) {
		u := w.waiting[n]
		if len(batch) > 0 && orders+len(u.Orders) > w.cfg.MaxBatch {
			break
		}
		n++
		w.queued -= len(u.Orders)
		w.room.leave(len(u.Orders))
		if u.take() {
			orders += len(u.Orders)
			batch = append(batch, u)
		}
	}
	w.taken = orders
	rest := copy(w.waiting, w.waiting[n:])
	clear(w.waiting[rest:])
	w.waiting = w.waiting[:rest]
	return batch
}

// committed notes that what was taken is written, and returns the number of requests that wait.
func (w *Writer) committed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = 0
	return len(w.waiting)
}

// closeQueue lets no more requests in, and reports whether none is left.
func (w *Writer) closeQueue() (empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return len(w.waiting) == 0
}

// refuseWaiting answers everybody who is waiting.
func (w *Writer) refuseWaiting(err error) {
	for {
		batch := w.take(nil)
		if len(batch) == 0 {
			return
		}
		answerAll(batch, err)
	}
}

// A commit costs the database as much processor time as twenty orders do. At some thousand requests a second, transactions of a few orders
// each would make commits most of what an order costs. So while requests come that fast, transactions begin gatherFor apart, unless enough
// orders wait or nobody is left who could come. That adds half of gatherFor to an answer. Requests that come slower, or alone, wait for nothing.
const (
	gatherFor    = 3 * time.Millisecond
	gatherOrders = 16                    // are enough: the commit is a small part of what they cost
	gatherRate   = 12                    // requests in gatherFor from which on it is worth waiting
	gatherWindow = 20 * time.Millisecond // in which requests are counted, fading
)

// pace knows when transactions began and how fast requests come. Its zero value has seen none. It belongs to the writer's goroutine.
type pace struct {
	began  time.Time // when the transaction before did
	recent float64   // requests of the last gatherWindow or so
	// How many clients send just now: the requests of the transaction before, and those that waited at its end. A client that waits for its
	// answer sends nothing else meanwhile, so hardly more requests than that will come.
	clients int
}

// begin notes a transaction of so many requests.
func (p *pace) begin(now time.Time, requests int) {
	p.recent *= math.Exp(-float64(now.Sub(p.began)) / float64(gatherWindow))
	p.recent += float64(requests)
	p.began, p.clients = now, requests
}

// end notes how many requests came during it.
func (p *pace) end(waiting int) { p.clients += waiting }

// next says for how many requests the next transaction may wait, and until when. That time is over when it is not to wait.
func (p *pace) next() (until time.Time, requests int) {
	const enough = gatherRate * float64(gatherWindow) / float64(gatherFor)
	if p.recent < enough {
		return time.Time{}, 1
	}
	return p.began.Add(gatherFor), min(p.clients, gatherOrders)
}
