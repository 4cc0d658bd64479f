package orders

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/database"
)

// Why an order was not written, or is not known to have been.
var (
	// ErrUnavailable: the database is away; nothing was written.
	ErrUnavailable = errors.New("the database is not available")
	// ErrOverloaded: too many orders are waiting; nothing was written.
	ErrOverloaded = errors.New("too many orders are waiting to be written")
	// ErrTimeout: the order's turn did not come in time; it was withdrawn and is not written later either.
	ErrTimeout = errors.New("the order could not be written in time")
	// ErrUnknownOutcome: the order was on its way when the connection or the time ran out. It may have been written. A retry
	// with the same idempotency key finds out.
	ErrUnknownOutcome = errors.New("it is not known whether the order was written")
	// ErrKeyReused: the idempotency key stands for another order.
	ErrKeyReused = errors.New("the idempotency key was used for another order")
	// ErrClosed: the writer is shutting down; nothing was written.
	ErrClosed = errors.New("shutting down")
)

// RefusedError is an order that the database does not take, by a rule that this program does not know.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused by the database: " + e.Reason }

// Request is what is written all or not at all: the orders of one HTTP request.
type Request struct {
	Orders      []Draft
	Key         string // idempotency key; empty: none
	Batch       bool   // the key is that of a batch: each order's is made from it and the order's place
	Traceparent string
}

// Result is what a request became.
type Result struct {
	Orders   []Order
	Replayed bool // found under the idempotency key: as they were answered the first time, but for a redriven one's MessageID
}

// Gate knows whether the database can be used; see [database.Monitor].
type Gate interface {
	State() (database.State, <-chan struct{})
	Up() bool
	Suspect()
}

// Observer is told what the writer does. Its methods must not block.
type Observer interface {
	Committed(requests, orders int, took time.Duration)
	Replayed()
	Failed(kind database.Kind)
}

// WriterConfig says how a [Writer] works.
type WriterConfig struct {
	Database *pgx.ConnConfig
	Queue    string
	MaxBatch int // orders in one transaction; a larger request has one of its own
	MaxQueue int // orders waiting
	// Timeout is how long a request waits, and how long a statement may take. Making a connection is bounded by Database, for
	// each of its hosts, and not by this.
	Timeout time.Duration
	// OnCommit is called after each commit that sent messages. It must not block.
	OnCommit func()
	Observer Observer
	Log      *slog.Logger
}

// Writer writes orders and their messages. Whatever has gathered while one transaction commits shares the next one (group
// commit), so a lone request waits for nobody and a crowd costs hardly more commits than a few.
//
// One goroutine ([Writer.Run]) owns the connection. Two or three would be slower: they would share the same disk's
// flushes and split the batches.
type Writer struct {
	cfg  WriterConfig
	gate Gate

	mu      sync.Mutex
	waiting []*unit
	queued  int // orders in waiting
	closed  bool
	wake    chan struct{}

	blocked atomic.Bool // see Ready

	// Of Run's goroutine.
	conn     *publisher
	used     time.Time // when conn last was
	failures int       // in a row: connections that could not be made, statements that had no right or no table
	rehearse bool      // a new connection must show that it can write
	warned   time.Time
}

// Failures in a row after which orders are refused at once, and the pauses between the attempts that the writer goes on making.
const (
	blockedAfter = 3
	firstPause   = 20 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// NewWriter makes a writer; nothing is written until [Writer.Run].
func NewWriter(cfg WriterConfig, gate Gate) *Writer {
	return &Writer{cfg: cfg, gate: gate, wake: make(chan struct{}, 1)}
}

// Write writes a request and returns when its transaction has committed, or with an error when the writer's timeout has
// passed or there is no point in waiting. Requests without orders are the caller's mistake.
func (w *Writer) Write(req Request) (Result, error) {
	result, err := w.submit(req)
	if result.Replayed {
		w.cfg.Observer.Replayed()
	}
	return result, err
}

func (w *Writer) submit(req Request) (Result, error) {
	if !w.gate.Up() || !w.Ready() {
		return Result{}, ErrUnavailable
	}
	u := newUnit(req, w.cfg.Timeout)
	if err := w.enqueue(u); err != nil {
		return Result{}, err
	}
	timer := time.NewTimer(w.cfg.Timeout)
	defer timer.Stop()
	select {
	case <-u.done:
		return u.result, u.err
	case <-timer.C:
		return u.expire()
	}
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
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return nil
}

// Ready is false while the writer fails again and again although the database is there: it gets no connection, or lacks a right.
func (w *Writer) Ready() bool { return !w.blocked.Load() }

// Queued is the number of orders that wait for their transaction.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued
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
		state, changed := w.gate.State()
		if w.Queued() > 0 {
			w.check()
		}
		var retry <-chan time.Time
		switch {
		case w.conn != nil:
		case !state.Up:
			w.refuseWaiting(ErrUnavailable)
		case w.connect() == nil:
			pause = firstPause
		default:
			w.gate.Suspect()
			w.refuseWaiting(ErrUnavailable)
			retry = time.After(pause/2 + rand.N(pause))
			pause = min(2*pause, longestPause)
		}
		if w.conn != nil {
			if batch = w.take(batch[:0]); len(batch) > 0 {
				w.commit(batch)
				clear(batch)
				continue
			}
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

// finished closes the door, and reports whether nobody was left inside.
func (w *Writer) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return len(w.waiting) == 0
}

// check drops a connection that has died while it was idle. Found out by the next order, that would leave the order's
// fate in doubt; found out before, it costs a new connection and nothing else.
func (w *Writer) check() {
	if w.conn == nil || time.Since(w.used) < idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Timeout/4)
	defer cancel()
	if err := w.conn.ping(ctx); err != nil {
		w.cfg.Log.Debug("writer's connection was lost while idle", "error", err)
		w.disconnect()
	}
	w.used = time.Now()
}

// idle is how long a connection is trusted without having been used.
const idle = 500 * time.Millisecond

// connect takes as long as the configuration lets it: a network where a round trip takes long, or a first host that is silent,
// costs time and not the service. Who is waiting meanwhile withdraws when its time is up.
func (w *Writer) connect() error {
	conn, err := connectPublisher(w.cfg.Database, w.cfg.Queue, w.cfg.Timeout)
	if err == nil && w.rehearse {
		if err = conn.rehearse(w.cfg.Timeout); err != nil {
			conn.close()
		}
	}
	if err != nil {
		w.cfg.Observer.Failed(database.Classify(err))
		w.cannotWrite("writer cannot connect", err)
		return err
	}
	w.conn, w.used = conn, time.Now()
	if w.failures = 0; w.blocked.Swap(false) {
		w.cfg.Log.Info("orders can be written again")
	}
	w.rehearse = false
	return nil
}

// cannotWrite counts what speaks for a writer that cannot write, and says it: once when that has become certain.
func (w *Writer) cannotWrite(what string, err error) {
	w.failures++
	switch {
	case w.failures < blockedAfter:
		w.warn(what, "error", err)
	case !w.blocked.Swap(true):
		w.cfg.Log.Warn("orders cannot be written, trying again until they can", "error", err)
	}
}

// reconnect connects, when there is no connection, in the middle of writing units, and returns those that still wait to be
// written. Until then they can be withdrawn as if they had not been taken, except for those that are in doubt already.
func (w *Writer) reconnect(units []*unit) []*unit {
	if w.conn != nil || len(units) == 0 {
		return units
	}
	if !w.gate.Up() {
		settleAll(units, ErrUnavailable)
		return nil
	}
	for _, u := range units {
		u.release()
	}
	err := w.connect()
	units = slices.DeleteFunc(units, func(u *unit) bool { return !u.retake() })
	if err != nil {
		settleAll(units, ErrUnavailable)
		return nil
	}
	return units
}

func (w *Writer) disconnect() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// refuseWaiting answers everybody who is waiting.
func (w *Writer) refuseWaiting(err error) {
	for {
		batch := w.take(nil)
		if len(batch) == 0 {
			return
		}
		settleAll(batch, err)
	}
}

// warn writes a line a second at most: a disk that is full fails every batch.
func (w *Writer) warn(message string, args ...any) {
	if now := time.Now(); now.Sub(w.warned) >= time.Second {
		w.warned = now
		w.cfg.Log.Warn(message, args...)
	}
}
