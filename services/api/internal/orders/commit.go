package orders

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/database"
)

// transaction is one try to write units.
type transaction struct {
	units     []*unit
	try       int  // its number; the first is 1
	rehearsed bool // other orders can be written
}

// worthTrying is the time a request must have left for another try.
const worthTrying = 20 * time.Millisecond

// commit brings a batch to its end: when it returns, every unit is answered.
//
//	batch ──▶ leaders ──▶ transaction ──▶ written ──▶ answered
//	  ▲                      ▲ │
//	  │                      │ ├──▶ again, or in halves
//	  │                      └─┘
//	  │                        └──▶ refused, not available, in doubt ──▶ answered
//	  └── followers that their leader's outcome does not answer
func (w *Writer) commit(batch []*unit) {
	for len(batch) > 0 {
		leaders, followers := lead(batch)
		for todo := []transaction{{units: leaders, try: 1}}; len(todo) > 0; {
			todo = append(todo[1:], w.transact(todo[0])...)
		}
		// At least the first follower of each key becomes a leader, so there is an end.
		batch = slices.DeleteFunc(followers, (*unit).answerByLeader)
	}
}

// lead separates the units that have the same key as another unit before them. One statement cannot see the rows that it is about to
// write, so these followers wait for the first one's outcome, which is theirs, too.
func lead(batch []*unit) (leaders, followers []*unit) {
	keyed := 0
	for _, u := range batch {
		if u.Key != "" {
			keyed++
		}
		u.leader = nil
	}
	if keyed < 2 {
		return batch, nil
	}
	type scope struct {
		key   string
		batch bool
	}
	first := make(map[scope]*unit, keyed)
	for _, u := range batch {
		key := scope{u.Key, u.Batch}
		leader := first[key]
		switch {
		case u.Key == "":
			leaders = append(leaders, u)
		case leader == nil:
			first[key] = u
			leaders = append(leaders, u)
		default:
			u.leader = leader
			followers = append(followers, u)
		}
	}
	return leaders, followers
}

// transact writes units in one transaction. It answers them, or returns the transactions that are to follow.
func (w *Writer) transact(tx transaction) (next []transaction) {
	tx.units = w.reconnect(inTime(tx.units))
	if len(tx.units) == 0 {
		return nil
	}
	// They came in before it was known, as by the connection that was made just now.
	if reason := w.cfg.Durability.Refusal(); reason != "" {
		answerAll(tx.units, because(ErrUnavailable, reason))
		return nil
	}
	started := time.Now()
	waited := w.watchForStandby()
	outcomes, err := w.conn.publish(tx.units)
	w.used = time.Now()
	if waited() && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", database.ErrUnreplicated, err)
	}
	traceID := w.record(tx.units, started, err)
	if err != nil {
		return w.failed(tx, err)
	}
	w.answerWritten(tx.units, outcomes, w.used.Sub(started), traceID)
	return nil
}

// inTime answers the units whose requests have no time for a transaction, and returns the others.
func inTime(units []*unit) []*unit {
	soon := time.Now().Add(worthTrying)
	return slices.DeleteFunc(slices.Clone(units), func(u *unit) bool {
		if !u.abandoned() && u.deadline.After(soon) {
			return false
		}
		u.answer(Result{}, ErrTimeout)
		return true
	})
}

// watchForStandby asks, once a statement has taken half of its time, whether the writer's session waits for a standby. When the time is over
// it is too late to ask: the statement has been cancelled, and the session waits for nothing. The function that is returned ends the
// watching, and reports whether the session waited for one.
func (w *Writer) watchForStandby() (waited func() bool) {
	if w.cfg.Replicating == nil {
		return func() bool { return false }
	}
	done, pid := make(chan struct{}), w.conn.PgConn().PID()
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Timeout)
	timer := time.AfterFunc(w.cfg.Timeout/2, func() {
		defer close(done)
		w.replicating.Store(w.cfg.Replicating(ctx, pid))
	})
	return func() bool {
		cancel()
		if timer.Stop() {
			return false
		}
		<-done
		return w.replicating.Load()
	}
}

// record makes a span of a transaction for those of its units whose requests are traced, and returns the trace id of one of them. Where
// none is, it costs a look at each.
func (w *Writer) record(units []*unit, started time.Time, err error) (traceID string) {
	if w.cfg.Tracer == nil {
		return ""
	}
	var joined []trace.Span
	messages := 0
	for _, u := range units {
		messages += len(u.Orders)
		if u.Span != nil {
			joined = append(joined, u.Span)
		}
	}
	if len(joined) == 0 {
		return ""
	}
	at, _ := w.cfg.Route.Current()
	about := append(tracing.Operation(w.cfg.Queue, "send", "send"), tracing.Statement("publish", messages, w.cfg.Database.Database, at.Name)...)
	span := w.cfg.Tracer.Join(joined, "send "+w.cfg.Queue, trace.SpanKindClient, started, about...)
	if err != nil {
		tracing.Refused(span, database.Classify(err).String(), err)
	}
	span.End()
	return joined[0].SpanContext().TraceID().String()
}

// answerWritten answers units by what their transaction returned for them.
func (w *Writer) answerWritten(units []*unit, outcomes []outcome, took time.Duration, traceID string) {
	orders := 0
	for i, u := range units {
		if outcomes[i].fresh {
			orders += len(u.Orders)
		}
	}
	if orders > 0 { // orders that were only found again prove nothing
		w.cfg.OnCommit()
		if w.failures > 0 {
			w.recovered()
		}
	}
	w.cfg.Observer.Committed(len(units), orders, took, traceID)
	for i, u := range units {
		o := &outcomes[i]
		switch {
		case o.err != nil:
			u.answer(Result{}, o.err)
		case o.fresh:
			u.stored = o.orders
			w.latest.Store(&u.Orders[0])
			u.answer(Result{Orders: o.orders}, nil)
		case o.partial:
			// Fewer or more than was asked for stand there: another batch. What exactly is not known.
			u.answer(Result{}, ErrKeyReused)
		default:
			u.stored = o.orders
			u.answerByKey(o.orders)
		}
	}
}

// failed does what a transaction's error asks for.
func (w *Writer) failed(tx transaction, err error) (next []transaction) {
	w.cfg.Observer.Failed(database.Classify(err))
	if unfinished(err) {
		w.monitor.Distrust(w.conn.Conn)
	}
	if w.conn.IsClosed() {
		w.disconnect()
		w.monitor.LookNow()
	}
	switch judge(err, tx.try, len(tx.units)) {
	case tryAfresh:
		w.disconnect()
		fallthrough
	case tryAgain:
		return []transaction{{tx.units, tx.try + 1, tx.rehearsed}}
	case split:
		return halves(tx)
	case refuse:
		w.refuse(tx.units[0], err)
	case examine:
		return w.examine(tx, err)
	case doubt:
		return w.doubt(tx, err)
	case giveUp:
		w.noteFailure("orders not written", err)
		answerAll(tx.units, unavailable(err))
	}
	return nil
}

// unfinished tells whether a server was asked to do something and did not say what became of it, although it was there.
func unfinished(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, database.ErrUnreplicated)
}

// halves are two transactions, each with half of the units. Their tries count from 1: what made the whole fail may be the fault of the other
// half. There is an end all the same, because each half is smaller.
func halves(tx transaction) []transaction {
	half := len(tx.units) / 2
	return []transaction{{tx.units[:half], 1, tx.rehearsed}, {tx.units[half:], 1, tx.rehearsed}}
}

// examine finds out whether an error is the fault of one of the units: it is not when no other order can be written either.
func (w *Writer) examine(tx transaction, err error) (next []transaction) {
	if !tx.rehearsed {
		if failed := w.rehearse(); failed != nil {
			answerAll(tx.units, failed)
			return nil
		}
	}
	tx.rehearsed = true
	if len(tx.units) > 1 {
		return halves(tx)
	}
	w.warn("order not written", "trace_id", tx.units[0].traceID(), "error", err)
	tx.units[0].answer(Result{}, unavailable(err))
	return nil
}

// refuse answers a unit by the rule that it breaks, or the values that cannot be held.
func (w *Writer) refuse(u *unit, err error) {
	if breaksRule(err) {
		u.answer(Result{}, newRefusedError(database.ServerError(err)))
		return
	}
	if w.conn != nil {
		if invalid, lookErr := w.conn.unfit(u); lookErr == nil && invalid != nil {
			u.answer(Result{}, invalid)
			return
		}
	}
	w.warn("order not written", "trace_id", u.traceID(), "error", err)
	u.answer(Result{}, unavailable(err))
}

// doubt is for units that may have been written. Those with a key are tried again; trying the others again could write them twice, so
// their answer is that the outcome is unknown.
func (w *Writer) doubt(tx transaction, err error) (next []transaction) {
	w.noteFailure("it is not known whether orders were written", err)
	unknown := ErrUnknownOutcome
	if errors.Is(err, database.ErrUnreplicated) {
		unknown = because(unknown, database.Reason(err))
	}
	var keyed []*unit
	for _, u := range tx.units {
		u.inDoubt = true
		if u.Key != "" && tx.try < maxTries {
			keyed = append(keyed, u)
		} else {
			u.answer(Result{}, unknown)
		}
	}
	if len(keyed) == 0 {
		return nil
	}
	return []transaction{{keyed, tx.try + 1, tx.rehearsed}}
}
