package orders

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/durability"
)

// Request is what is written all or not at all: the orders of one HTTP request.
type Request struct {
	Orders      []Draft
	Key         string            // idempotency key; empty: none
	Batch       bool              // the key is that of a batch: each order's is made from it and the order's place
	Traceparent string            // what the messages bear of the trace: empty: nothing, or Unsampled
	Trace       trace.SpanContext // the request's, for log lines
	Span        trace.Span        // nil: the request's trace is not recorded
}

// Unsampled in the place of a [Request]'s traceparent says that its trace is not recorded, and that nobody else is to record it.
const Unsampled = "-"

// Result is what a request became.
type Result struct {
	Orders   []Order
	Replayed bool // found under the idempotency key: as they were answered the first time, but for a redriven one's MessageID
}

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	State() (database.State, <-chan struct{})
	Up() bool
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

// Durability knows what a crash would lose; see package durability.
type Durability interface {
	Session(ctx context.Context, db durability.Querier) error
	Refusal() string
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
	// Durability is asked about each new connection before anything is written on it, and by each request whether orders are refused.
	// nil: nobody is.
	Durability Durability
	// OnCommit is called after each commit that sent messages. It must not block.
	OnCommit func()
	Observer Observer
	Tracer   *tracing.Tracer // nil: none
	Log      *slog.Logger
}

// Writer writes orders and their messages. Whatever has gathered while one transaction commits shares the next one (group
// commit), so a lone request waits for nobody and a crowd costs hardly more commits than a few. Where requests come faster than that makes
// batches of them, they wait for each other for a moment; see gather.
//
// One goroutine ([Writer.Run]) owns the connection. Two or three would be slower: they would share the same disk's
// flushes and split the batches.
type Writer struct {
	cfg     WriterConfig
	monitor Monitor

	mu       sync.Mutex
	waiting  []*unit
	queued   int // orders in waiting
	expected int // requests that have to wait before the writer is woken; see gather
	closed   bool
	wake     chan struct{}

	notReady atomic.Pointer[string] // why; see NotReady
	admit    atomic.Bool            // one request may come in although it is not ready

	replicating atomic.Bool // the latest statement that took long waited for a standby

	// Of Run's goroutine.
	conn     *publisher
	used     time.Time // when conn last was
	pace     pace
	latest   *Draft // order that was written; nil: none
	failures int    // in a row: of connections, statements and rehearsals, other than for an order's own fault
	warned   time.Time
}

// NewWriter makes a writer; nothing is written until [Writer.Run].
func NewWriter(cfg WriterConfig, monitor Monitor) *Writer {
	return &Writer{cfg: cfg, monitor: monitor, wake: make(chan struct{}, 1)}
}

// Write writes a request and returns when its transaction has committed, or with an error when the writer's timeout has
// passed or there is no point in waiting. Requests without orders are the caller's mistake.
func (w *Writer) Write(req Request) (Result, error) {
	if state, _ := w.monitor.State(); !state.Up {
		return Result{}, because(ErrUnavailable, state.Reason)
	}
	if reason := w.refusal(); reason != "" {
		return Result{}, because(ErrUnavailable, reason)
	}
	if reason := w.blocked(); reason != "" && !w.admit.CompareAndSwap(true, false) {
		return Result{}, because(ErrUnavailable, reason)
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

func (w *Writer) enqueue(u *unit) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case w.queued > 0 && w.queued+len(u.Orders) > w.cfg.MaxQueue:
		return ErrOverloaded
	}
	w.waiting = append(w.waiting, u)
	w.queued += len(u.Orders)
	if w.gathered(w.expected) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Queued is the number of orders that wait for their transaction.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued
}

// requests is the number of requests that wait for their transaction.
func (w *Writer) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
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
		if u.take() {
			orders += len(u.Orders)
			batch = append(batch, u)
		}
	}
	rest := copy(w.waiting, w.waiting[n:])
	clear(w.waiting[rest:])
	w.waiting = w.waiting[:rest]
	return batch
}

// Run writes until ctx ends; then it refuses what comes, writes what is waiting, and returns.
func (w *Writer) Run(ctx context.Context) {
	defer w.disconnect()
	var batch []*unit
	pause := firstPause
	for {
		state, changed := w.monitor.State()
		if w.Queued() > 0 {
			w.check()
		}
		usable := w.conn != nil || state.Up && w.connect() == nil
		if usable {
			w.gather(ctx)
			if batch = w.take(batch[:0]); len(batch) > 0 {
				w.pace.begin(time.Now(), len(batch))
				w.commit(batch)
				w.pace.end(w.requests())
				clear(batch)
				continue
			}
			usable = w.failures == 0 || w.rehearse() == nil
		}
		var retry <-chan time.Time
		switch {
		case usable:
			pause = firstPause
		case state.Up:
			retry = time.After(pause/2 + rand.N(pause))
			pause = min(2*pause, longestPause)
			fallthrough
		default:
			w.refuseWaiting(ErrUnavailable)
		}
		if ctx.Err() != nil && w.finished() {
			return
		}
		select {
		case <-w.wake:
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			w.finished()
		}
	}
}

// finished lets no more requests in, and reports whether none is waiting.
func (w *Writer) finished() bool {
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
