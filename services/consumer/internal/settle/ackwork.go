package settle

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// AckWork is what it takes to do ack work: a user's function, or what a handler has left, in the transaction of the ack (see package
// effect). There are several lanes for it, each with a transaction of its own, and other outcomes have theirs: however slow the work is, it
// keeps none of them waiting.
type AckWork struct {
	Runner     effect.Runner
	Limit      time.Duration // of one transaction's work: HANDLER_TIMEOUT
	Heartbeats *lease.Heartbeats
	Took       func(orders int, took time.Duration) // tells how long a transaction with so many orders took
	Note       func(error)                          // tells how a statement went
	Lanes      []*health.Progress                   // one of each lane
}

// AddAckWork adds lanes for ack work, each on a link of its own. What it returns closes the links, when the settler has ended.
func (s *Settler) AddAckWork(server *pg.Server, w AckWork) (closeLinks func()) {
	for _, progress := range w.Lanes {
		work := &ackWork{AckWork: w}
		own := LaneNeeds{Link: work.newLink(server), Progress: progress, Note: func(_ ending.Op, err error) { w.Note(err) }}
		own.Link.Watch(progress.Begin)
		l := newLane(s.needs, own, s.ackWork, s)
		l.ackWork, l.most = work, firstAckWork
		s.ackWorkLanes = append(s.ackWorkLanes, l)
		s.lanes = append(s.lanes, l)
	}
	return func() {
		for _, l := range s.ackWorkLanes {
			l.own.Link.Close()
		}
	}
}

// ackWork is what one lane for ack work has.
type ackWork struct {
	AckWork
	began, ended time.Time     // the work of the last transaction
	sharing      queue.Sharing // how the session is to be set
}

const (
	// firstAckWork is how many orders a lane's first transaction has, as long as it is not known how long they take.
	firstAckWork = 16
	// ackWorkHorizon is how long a transaction is to take at most, where there is enough to do: long enough for batches that are worth a
	// commit, and short for whoever waits for a row that the work has locked.
	ackWorkHorizon = 250 * time.Millisecond
	// mostLosses is how often the connection may be lost in the middle of an order's work, while that is alone, until it is taken for a failure
	// of that work: it may well be what ends the server's process. Once or twice can be an outage.
	mostLosses = 3
	// mostConflicts is how often an order's work may run into others', or be cancelled by somebody, while it is alone, until that is taken for
	// a failure of it. The waits between them are some ten seconds, for which it holds a place that others wait for.
	mostConflicts = 10
	// ackWorkGrace is what the server gets beyond the limit, to cut a statement off by itself.
	ackWorkGrace = time.Second
	// openGrace is for the statements around the work.
	openGrace = 3 * time.Second
)

// newLink returns a link for the lane's work.
func (w *ackWork) newLink(server *pg.Server) *pg.Link {
	link := server.NewLink("work", func(ctx context.Context, conn *pgx.Conn) error {
		s, err := pg.Share(ctx, conn, w.Limit)
		if err != nil {
			return err
		}
		w.sharing = queue.Sharing{Ours: queue.NewSession(s.Ours), Theirs: queue.NewSession(s.Theirs), After: queue.NewSession(s.After)}
		return pg.NoticeLoss(ctx, conn)
	})
	link.Limit(w.Limit + ackWorkGrace + openGrace)
	return link
}

// ackWorkError is how a transaction with work in it has failed.
type ackWorkError struct {
	err      error
	fault    effect.Fault
	took     time.Duration        // the transaction, until then
	unsure   bool                 // it may have taken effect all the same
	hungUp   bool                 // Overrun: not the server has cut it off but we, after a longer time: the connection may have been silent
	failure  error                // as a handler's error, should it be its order's
	culprits map[queue.Lease]bool // Own: whose it is, where that is known
}

// failed is a transaction that has failed after so long.
func (w *ackWork) failed(err error, took time.Duration) *ackWorkError {
	return &ackWorkError{err: err, fault: effect.Judge(err, took, w.Limit), took: took}
}

func (e *ackWorkError) Error() string { return e.err.Error() }

func (e *ackWorkError) Unwrap() error { return e.err }

// sendAckWork writes a batch of acks with their ack work in one transaction. Its lease check comes first. What that confirms nobody else can read
// until the transaction has ended, since its rows are locked; but should it fail, the leases have to hold for what comes then.
func (l *lane) sendAckWork(ctx context.Context, b batch, entries []queue.Entry) (confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate, err error) {
	err = l.own.Link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := l.ackWork.Runner.Prepare(ctx, conn); err != nil {
			var unfit *effect.UnfitError
			if errors.As(err, &unfit) {
				return &ackWorkError{err: err, fault: effect.Unfit}
			}
			return err
		}
		if err := l.ackWork.Heartbeats.Hold(ctx, conn, b.deliveries(), time.Now().Add(l.ackWork.Limit+ackWorkGrace)); err != nil {
			return err
		}
		open, err := l.Queue.OpenAck(ctx, conn, entries, b.statement == ackWithWorkUnlocked, l.Consumer, l.ackWork.sharing)
		if err != nil {
			return err
		}
		if confirmed, err = l.finishAckWork(ctx, conn, open, b); err != nil {
			return err
		}
		if len(confirmed) < len(entries) {
			// Without this knowledge what was confirmed is settled all the same, and the rest is sent again.
			fates, _ = l.Queue.Fates(ctx, conn, confirmed.Missing(entries), l.Consumer)
			l.answerLate(ctx, conn, b, fates)
		}
		return nil
	})
	return confirmed, fates, err
}

// finishAckWork does the work of what has been acknowledged, once an order, and commits.
func (l *lane) finishAckWork(ctx context.Context, conn *pgx.Conn, open *queue.OpenAck, b batch) (queue.Confirmed, error) {
	left := make(map[queue.Lease]any, len(b.items))
	for i := range b.items {
		left[b.items[i].lease()] = b.items[i].ackWork
	}
	var orders []effect.Order
	var leases []queue.Lease
	seen := map[int64]bool{}
	for _, a := range open.Acked {
		if a.First && !seen[a.OrderID] {
			seen[a.OrderID] = true
			orders, leases = append(orders, effect.Order{ID: a.OrderID, Work: left[a.Lease]}), append(leases, a.Lease)
		}
	}
	start := time.Now()
	if len(orders) > 0 {
		limited, cancel := context.WithTimeout(ctx, l.ackWork.Limit+ackWorkGrace)
		l.ackWork.began = time.Now()
		err := l.ackWork.Runner.Run(limited, conn, orders)
		l.ackWork.ended = time.Now()
		ranOut := limited.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil {
			open.Rollback(ctx)
			failed := l.ackWork.failed(err, time.Since(start))
			if ranOut {
				failed.fault, failed.hungUp = effect.Overrun, true // nothing was committed
			}
			var one *effect.FailedError
			switch {
			case errors.As(err, &one) && one.At >= 0:
				failed.culprits = map[queue.Lease]bool{leases[one.At]: true}
			case len(leases) == 1:
				failed.culprits = map[queue.Lease]bool{leases[0]: true}
			}
			return nil, l.failure(ctx, conn, failed)
		}
	}
	confirmed, err := open.Commit(ctx)
	if err != nil {
		failed := l.ackWork.failed(err, time.Since(start))
		failed.unsure = failed.fault == effect.Lost
		if failed.unsure && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			failed.fault, failed.hungUp = effect.Overrun, true
		}
		var undone *queue.UndoneError
		if errors.As(err, &undone) {
			failed.fault, failed.culprits = effect.Own, open.Leases(undone.Messages)
		}
		return nil, l.failure(ctx, conn, failed)
	}
	took := time.Since(start)
	l.ackWork.Took(len(confirmed), took)
	each := max(took/time.Duration(max(len(confirmed), 1)), time.Microsecond)
	l.most = min(max(int(ackWorkHorizon/each), 1), 2*l.most, mostWritten)
	return confirmed, nil
}

// failure adds what the failure means as a handler's error.
func (l *lane) failure(ctx context.Context, conn *pgx.Conn, f *ackWorkError) error {
	switch f.fault {
	case effect.Overrun:
		f.failure = handler.ErrTimeout
	case effect.Lost:
		f.failure = handler.Unavailable(f.err)
	default:
		f.failure = effect.Failure(ctx, conn, f.err)
	}
	return f
}

// ackWorkFailed decides what becomes of a batch whose transaction has failed. Nothing of it took effect, unless that is unsure. Where an order is
// at fault and it is not known which, all are tried again in smaller batches, until it stands alone. They go back to where the lanes take
// from, so that heartbeats can extend them meanwhile and the other lanes help.
func (l *lane) ackWorkFailed(b batch, f *ackWorkError) error {
	alone, half := len(b.items) == 1, max(len(b.items)/2, 1)
	if f.fault != effect.Own && f.fault != effect.Unfit {
		for i := range b.items {
			item := &b.items[i]
			item.unsure = item.unsure || f.unsure
			if item.mostTogether = half; alone {
				item.note(f)
			}
		}
	}
	if alone && b.items[0].exhausted() {
		l.fail(b.items[0], f)
		return nil
	}
	switch f.fault {
	case effect.Unfit:
		for _, item := range b.items {
			l.Held.AdmitBeside(item.delivery) // nobody waits for what may take long
			l.add(item)
		}
		return f
	case effect.Lost:
		for _, item := range b.items {
			l.add(item)
		}
		return f
	case effect.Conflict, effect.Cancelled:
		l.Metrics.Locked.WithLabelValues(b.statement.op().String()).Inc()
		l.Log.Debug("the work of a batch met a conflict or a cancel; retrying in smaller batches", "batch", len(b.items), "error", f.Error())
		l.most = half
		for _, item := range b.items {
			l.postpone(item)
		}
		return nil
	case effect.Overrun:
		l.most = half
	case effect.Own:
	}
	if !alone && f.culprits == nil {
		l.Metrics.Isolated.Inc()
	}
	for _, item := range b.items {
		switch {
		case f.fault == effect.Own && (alone || f.culprits[item.lease()]):
			l.fail(item, f)
		case f.culprits == nil:
			item.mostTogether = half
			l.settler.enqueue(item)
		default:
			l.settler.enqueue(item)
		}
	}
	return nil
}

// note counts how often an order's work, while it was alone, has failed in a way that need not be its fault.
func (o *outcome) note(f *ackWorkError) {
	switch {
	case f.fault == effect.Lost, f.hungUp:
		o.losses++
	case f.fault == effect.Conflict, f.fault == effect.Cancelled:
		o.conflicts++
	case f.fault == effect.Overrun:
		o.overran = true
	}
}

// exhausted says whether that has happened so often that it is.
func (o *outcome) exhausted() bool {
	return o.losses >= mostLosses || o.conflicts >= mostConflicts || o.overran
}

// fail ends an order's attempt as if its handler had failed: the work is a part of it.
func (l *lane) fail(o outcome, f *ackWorkError) {
	l.ackWork.Took(1, f.took) // or the time that handlers take would be divided by those that succeed
	what := ending.Returned{Err: f.failure}
	if f.fault == effect.Overrun {
		what.Cause = handler.ErrTimeout
	}
	next := newOutcome(o.delivery, l.settler.ended(o.delivery, what))
	next.unsure = o.unsure // then this will find out that it has taken effect
	logFailure(l.Log, &o.delivery.Message, next.Ending, f.failure)
	l.replace(o, next)
}

// releaseRest releases what is left when the lane has to end: it has not taken effect, or the release will find out that it has.
func (l *lane) releaseRest() {
	l.resume()
	for _, items := range l.pending {
		for _, item := range items {
			drained := ending.Returned{Err: handler.ErrDraining, Cause: handler.ErrDraining}
			next := newOutcome(item.delivery, l.settler.ended(item.delivery, drained))
			next.unsure = item.unsure
			l.replace(item, next)
		}
	}
	l.pending = [kinds][]outcome{}
}
