package orders

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/services/api/internal/strictjson"
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

// unit is a request on its way through the writer.
//
// Both the writer and the request itself, when its time is up, change the state. Each arrow is one atomic step, so only one of them wins:
//
//	waiting ──take──▶ taken ──answer──▶ answered
//	 │    ◀──putBack──  │
//	 │expire            │expire
//	 ▼                  ▼
//	withdrawn         abandoned
//
// A withdrawn unit is never written. An abandoned one may be under way; it is not tried again. A unit is put back while the writer has no
// connection, and only when no transaction can have written it.
type unit struct {
	Request
	deadline time.Time
	state    atomic.Int32

	// Of the writer until the unit is answered, of its request afterwards.
	done   chan struct{} // closed with the end
	result Result
	err    error

	// Of the writer.
	inDoubt bool    // a transaction with it may have committed
	leader  *unit   // a unit before it in the same batch, with the same key
	stored  []Order // all that stands under the unit's key, once that is known
}

const (
	unitWaiting = iota
	unitTaken
	unitAnswered
	unitWithdrawn
	unitAbandoned
)

func newUnit(req Request, timeout time.Duration) *unit {
	return &unit{Request: req, deadline: time.Now().Add(timeout), done: make(chan struct{})}
}

// keySeparator stands between a batch's key and an order's place in it: the unit separator, which no key can contain.
const keySeparator = "\x1f"

// keyOf is the idempotency key under which the unit's order is stored.
func (u *unit) keyOf(order int) *string {
	switch {
	case u.Key == "":
		return nil
	case !u.Batch:
		return &u.Key
	}
	key := u.Key + keySeparator + strconv.Itoa(order)
	return &key
}

// traceID is that of the unit's request.
func (u *unit) traceID() string { return u.Trace.TraceID().String() }

// take reports whether the unit is the writer's now; it is not when it was withdrawn.
func (u *unit) take() bool { return u.state.CompareAndSwap(unitWaiting, unitTaken) }

// putBack lets the unit be withdrawn again.
func (u *unit) putBack() {
	if !u.inDoubt {
		u.state.CompareAndSwap(unitTaken, unitWaiting)
	}
}

// retake is take after putBack: also true for what was not put back.
func (u *unit) retake() bool { return u.inDoubt || u.take() }

func (u *unit) abandoned() bool { return u.state.Load() == unitAbandoned }

// expire ends the wait of a request whose time is up, and reports what is known of it.
func (u *unit) expire() (Result, error) {
	for u.state.Load() != unitAnswered { // more than once when the writer takes it, or puts it back, just now
		if u.state.CompareAndSwap(unitWaiting, unitWithdrawn) {
			return Result{}, ErrTimeout
		}
		if u.state.CompareAndSwap(unitTaken, unitAbandoned) {
			return Result{}, ErrUnknownOutcome
		}
	}
	<-u.done // answered at the last moment
	return u.result, u.err
}

// answer tells the unit's request what became of it.
func (u *unit) answer(result Result, err error) {
	if u.inDoubt && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout)) {
		err = ErrUnknownOutcome
	}
	u.result, u.err = result, err
	u.state.CompareAndSwap(unitTaken, unitAnswered)
	close(u.done)
}

// answerByKey answers a unit by what stands under its key.
func (u *unit) answerByKey(stored []Order) {
	same := len(stored) == len(u.Orders)
	for i := 0; same && i < len(stored); i++ {
		same = stored[i].Draft == u.Orders[i]
	}
	if !same {
		u.answer(Result{}, ErrKeyReused)
		return
	}
	u.answer(Result{Orders: stored, Replayed: true}, nil)
}

// answerByLeader answers a unit by its leader's end; false when that says nothing about it.
func (u *unit) answerByLeader() bool {
	err := u.leader.err
	var (
		refused *RefusedError
		invalid *strictjson.InvalidError
	)
	switch {
	case u.leader.stored != nil:
		u.answerByKey(u.leader.stored)
		return true
	case err == nil, errors.Is(err, ErrKeyReused), errors.Is(err, ErrTimeout), errors.As(err, &refused), errors.As(err, &invalid):
		return false
	}
	u.answer(Result{}, err)
	return true
}

func answerAll(units []*unit, err error) {
	for _, u := range units {
		u.answer(Result{}, err)
	}
}
