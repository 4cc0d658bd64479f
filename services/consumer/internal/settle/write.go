package settle

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/spans"
)

// doubtfulTries is how often to hand back what a read whose commit went unanswered may have leased: a server that was
// cut off from us, or hung, may come to that commit only after we have looked. Together they span about a second.
const doubtfulTries = 5

// NotifyLimit is how long a drain may take to tell others of what was handed back.
const NotifyLimit = 500 * time.Millisecond

// write writes one batch. When it returns, each outcome of it has ended, is pending again, or is back with the settler: as it was, for ack work
// that is to be done in a smaller batch, or replaced by another outcome. On an error that is no fault of the batch all of it is
// pending, to be sent again as it is.
func (l *lane) write(ctx context.Context, b batch) error {
	op := b.statement.op()
	start := time.Now()
	confirmed, fates, err := l.send(ctx, b)
	took := time.Since(start)
	l.trace(b, start, err)
	fault := queue.Classify(err)
	l.Metrics.StatementSeconds.WithLabelValues(b.statement.String()).Observe(took.Seconds())
	var worked *ackWorkError
	switch {
	case err == nil:
		if l.ackWork == nil {
			l.most = queue.More(l.most, len(b.items), took, l.might, mostWritten)
		}
		l.Metrics.SettleBatch.WithLabelValues(op.String()).Observe(float64(len(b.items)))
		l.conclude(ctx, b, confirmed, fates)
		return nil
	case errors.As(err, &worked):
		return l.ackWorkFailed(b, worked)
	case fault == queue.TooLong && len(b.items) > 1:
		l.most = queue.Less(l.most, len(b.items))
		l.Log.Debug("a statement took too long, trying with less", "operation", op.String(), "batch", len(b.items), "error", err.Error())
		return l.halve(ctx, b)
	case fault == queue.Spoiled && len(b.items) > 1:
		// One message spoils the batch. Halving finds it in a few statements, and the others get through.
		l.Metrics.Isolated.Inc()
		return l.halve(ctx, b)
	case fault == queue.Spoiled:
		l.spoiled(b.items[0], err)
		return nil
	case fault == queue.Suppressed:
		return l.suppressed(ctx, b, err)
	case fault == queue.Locked:
		l.Metrics.Locked.WithLabelValues(op.String()).Inc()
		for _, item := range b.items {
			if item.tries > 0 { // locked orders and messages were passed over: this is a row that a trigger writes, for some of them
				item.mostTogether = b.half()
			}
			l.postpone(item) // in a moment, and then only those that are free
		}
		return nil
	default:
		l.unwritten(b, fault, took, err)
		return err
	}
}

// unwritten keeps a batch whose statement was refused for something that may concern every message alike, or had no answer. It may also be one
// order's doing: a trigger can say for one what a server says to all, take too long, or end the session. So that one is looked for in smaller batches,
// and when it is alone, others come first.
func (l *lane) unwritten(b batch, fault queue.Fault, took time.Duration, err error) {
	answered, late := queue.Answered(err), errors.Is(err, pg.ErrNoAnswer)
	if late { // it may be too much for the time that a connection is waited for
		l.most = queue.Less(l.most, len(b.items))
	}
	for _, item := range b.items {
		item.unsure = item.unsure || fault == queue.Unknown
		if answered {
			l.Held.AdmitBeside(item.delivery) // nobody waits for what may take long
		}
		if !answered && fault != queue.Unknown { // it was never sent
			l.add(item)
			continue
		}
		item.mostTogether = b.half()
		switch {
		case len(b.items) > 1:
			l.add(item)
		case late:
			item.silence = took
			l.postponeFor(item, took) // others have as much of the lane's time
		default:
			l.postpone(item)
		}
	}
}

// trace makes the span of a statement.
func (l *lane) trace(b batch, start time.Time, err error) {
	if !l.Spans.Recording() {
		return
	}
	of := spans.Settlement{Op: b.statement.op(), Statement: b.statement.String(), Deliveries: b.deliveries(), Start: start, Err: err}
	if l.ackWork != nil {
		of.WorkBegan, of.WorkEnded = l.ackWork.began, l.ackWork.ended
	}
	l.Spans.Settled(of)
}

func (l *lane) halve(ctx context.Context, b batch) error {
	one, two := b.halves()
	return errors.Join(l.write(ctx, one), l.write(ctx, two))
}

// send makes the round trip, and a second one when something was not confirmed: to see what became of it.
func (l *lane) send(ctx context.Context, b batch) (confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate, err error) {
	entries := make([]queue.Entry, len(b.items))
	for i := range b.items {
		entries[i] = b.items[i].entry()
	}
	if b.statement.withAckWork() {
		return l.sendAckWork(ctx, b, entries)
	}
	err = l.own.Link.DoAtLength(ctx, 2*b.items[0].silence, func(ctx context.Context, conn *pgx.Conn) (err error) {
		l.might = pg.MayTake(ctx)
		switch b.statement {
		case ack:
			confirmed, err = l.Queue.Ack(ctx, conn, entries, l.Consumer)
		case ackUnlocked:
			confirmed, err = l.Queue.AckUnlocked(ctx, conn, entries, l.Consumer)
		case nack:
			confirmed, err = l.Queue.Nack(ctx, conn, entries, l.Consumer)
		case nackMessageOnly:
			confirmed, err = l.Queue.NackMessageOnly(ctx, conn, entries, l.Consumer)
		case bury:
			confirmed, err = l.Queue.Bury(ctx, conn, entries, l.Consumer)
		default:
			confirmed, err = l.Queue.Release(ctx, conn, entries, l.Consumer)
		}
		if err != nil || len(confirmed) == len(entries) {
			return err
		}
		// Without this knowledge what was confirmed is settled all the same, and the rest is sent again.
		fates, _ = l.Queue.Fates(ctx, conn, confirmed.Missing(entries), l.Consumer)
		l.answerLate(ctx, conn, b, fates)
		return nil
	})
	return confirmed, fates, err
}

// answerLate says of leases that were lost that their consumer is alive: it was stopped or cut off for a while, and whoever has read the
// message since takes it for dead. Where that cannot be written of a start that had been made known, it takes the lease out of fates, so that
// it is tried again.
func (l *lane) answerLate(ctx context.Context, conn *pgx.Conn, b batch, fates map[queue.Lease]queue.Fate) {
	var late []queue.Entry
	for _, item := range b.items {
		if fate, asked := fates[item.lease()]; asked && fate == queue.Lost && !item.doubtful {
			e := item.entry()
			e.History = item.history(queue.OutcomeLeaseLost)
			late = append(late, e)
		}
	}
	if len(late) == 0 {
		return
	}
	if _, err := l.Queue.Late(ctx, conn, late, l.Consumer); err != nil {
		for _, item := range b.items {
			if item.delivery.Known() {
				delete(fates, item.lease())
			}
		}
	}
}

// conclude ends the deliveries of a batch that was written, each as its lease check came out. What the check has confirmed is done. Of the rest a
// second look has said what has become of it, as a rule:
//
//	the lease is still ours, or that is not known    a row was locked: later, once more
//	the same, and the order is gone                  an ack: to the dead letters
//	it was written by an earlier try                 done
//	the lease has been lost                          nothing of ours took effect: it is somebody else's
//
// A doubtful lease may also come to be ours later: it is not lost before it has been looked for doubtfulTries times.
func (l *lane) conclude(ctx context.Context, b batch, confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate) {
	op := b.statement.op()
	var back []outcome // whose messages come again
	for _, item := range b.items {
		if item.suppressed {
			item.suppressed = false
			l.Unwritten.end()
		}
		named := item.lease()
		if took, ok := confirmed[named]; ok {
			if op == ending.Ack {
				ops.Observe(l.Metrics.LatencySeconds, took.Seconds(), item.delivery.TraceID())
				l.Tally.Took(took)
			}
			l.done(item)
			if op == ending.Nack || op == ending.Release {
				back = append(back, item)
			}
			continue
		}
		fate, known := fates[named]
		switch {
		case item.doubtful && known && item.tries >= doubtfulTries:
			// The read was rolled back: there never was a lease, and who holds the message now got the same read_ct.
			l.drop(item)
		case !known, fate == queue.StillOurs, fate == queue.Orphaned && op != ending.Ack:
			l.postpone(item)
		case fate == queue.Orphaned:
			next := l.outcomeOf(item.delivery, ending.Orphaned{})
			next.at = item.at
			message.Log(l.Log, slog.LevelWarn, "message goes to the dead letters", &item.delivery.Message,
				slog.String("reason", next.Reason), slog.String("error", next.Problem))
			l.replace(item, next)
		case fate == queue.Done:
			l.done(item)
		case item.doubtful:
			l.postpone(item)
		case item.unsure && op != ending.Ack:
			// Either it took effect and somebody has read the message since, or the lease was not ours any more. Both are well.
			l.drop(item)
		default:
			if item.delivery.Lost() { // the heartbeat has said so
				l.drop(item)
				continue
			}
			l.Metrics.LeaseLost.WithLabelValues(op.String()).Inc()
			message.Log(l.Log, slog.LevelWarn, "lease lost: the message has been read again or removed since; the order was not changed", &item.delivery.Message,
				slog.String("operation", op.String()), slog.Int("read_ct", int(item.delivery.Message.ReadCount)))
			l.drop(item)
		}
	}
	l.Room.Send()
	if len(back) > 0 {
		l.notify(ctx, back)
	}
}

// drop ends a delivery whose message is somebody else's.
func (l *lane) drop(o outcome) {
	l.Held.Drop(o.delivery)
	spans.End(o.delivery, "lost", ending.Ending{})
	if o.ackWork != nil { // the gate has not heard of it yet
		l.Gate.Unused(&o.delivery.Ticket)
	}
}

// done ends a delivery whose outcome is committed.
func (l *lane) done(o outcome) {
	l.Held.Drop(o.delivery)
	spans.End(o.delivery, o.Op.String(), o.Ending)
	if o.Op == ending.Ack && o.ackWork != nil {
		l.Gate.AttemptEnded(&o.delivery.Ticket, ending.Returned{})
	}
	switch o.Op {
	case ending.Ack:
		logCompleted(l.Log, &o.delivery.Message)
		l.Metrics.Processed.Inc()
		l.Tally.Completed()
	case ending.Nack:
		l.Metrics.Retried.Inc()
		l.Tally.Retried()
	case ending.Bury:
		l.Metrics.Dead.WithLabelValues(o.Reason).Inc()
		l.Tally.Dead()
	default:
		l.Metrics.Released.Inc()
	}
}

// notify lets consumers know of messages that come back now, or sooner than they would look by themselves.
func (l *lane) notify(ctx context.Context, back []outcome) {
	soonest := slices.MinFunc(back, func(a, b outcome) int { return cmp.Compare(a.Delay, b.Delay) }).Delay
	if !l.Draining() {
		l.RetryIn(soonest)
	}
	if soonest >= l.Poll {
		return
	}
	if l.Draining() {
		limited, cancel := context.WithTimeout(ctx, l.NotifyLimit)
		defer cancel()
		ctx = limited
	}
	if err := l.own.Link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return l.Queue.Notify(ctx, conn, soonest)
	}); err != nil {
		l.Log.Debug("could not notify other consumers; they will find the messages by polling", "error", err.Error())
	}
}

// postpone puts off an outcome that cannot be written just now, because somebody has locked its row, for instance. Nobody waits for it.
func (l *lane) postpone(o outcome) { l.postponeFor(o, 0) }

// postponeFor does so for at least so long.
func (l *lane) postponeFor(o outcome, least time.Duration) {
	l.Held.AdmitBeside(o.delivery)
	o.tries++
	pause := backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second, Multiplier: 2}.Bound(o.tries)
	o.after = time.Now().Add(max(pause, least))
	l.add(o)
}

// outcomeOf is the outcome of a delivery to which something has happened here.
func (l *lane) outcomeOf(d *lease.Delivery, what ending.Event) outcome {
	return newOutcome(d, l.Rules.Decide(&d.Message, what))
}

// instead replaces an outcome that cannot be written as planned by one that perhaps can be. It says false when there is none.
func (l *lane) instead(planned outcome, why ending.Event) bool {
	next := l.outcomeOf(planned.delivery, why)
	if next.Ending == planned.Ending {
		return false
	}
	next.unsure = planned.unsure && next.Op == planned.Op // an earlier try of the same statement
	next.at = planned.at
	l.replace(planned, next)
	return true
}

// replace makes another outcome of a delivery that cannot end as planned. What was known of the planned one ends here.
func (l *lane) replace(planned, next outcome) {
	if planned.Failure == "" { // else it has been counted
		l.settler.countFailure(next.Ending)
	}
	if planned.suppressed {
		l.Unwritten.end()
	}
	if planned.ackWork != nil {
		l.Gate.Unused(&planned.delivery.Ticket) // unless it has heard how the attempt ended
	}
	l.Held.Redecide(next.delivery)
	l.settler.enqueue(next)
}

// suppressed deals with a batch of which the database has silently kept some rows from being written. Those are neither lost nor given
// up: they wait until it works. The others are written without them.
func (l *lane) suppressed(ctx context.Context, b batch, err error) error {
	op := b.statement.op()
	concerned := queue.SuppressedMessages(err)
	var others, kept []outcome
	for _, item := range b.items {
		if concerned[item.delivery.Message.ID] {
			kept = append(kept, item)
		} else {
			others = append(others, item)
		}
	}
	if len(kept) == 0 {
		others, kept = nil, b.items
	}
	for _, item := range kept {
		if l.instead(item, ending.Suppressed{Planned: item.Ending}) {
			continue
		}
		if !item.suppressed {
			item.suppressed = true
			l.Unwritten.begin(err)
			message.Log(l.Log, slog.LevelWarn, "a result cannot be written, because a row-level trigger suppresses it (`consumer doctor` names the triggers that may do that): trying again until it works",
				&item.delivery.Message, slog.String("operation", op.String()), slog.String("error", err.Error()))
		}
		l.postpone(item)
	}
	if len(others) == 0 {
		return nil
	}
	return l.write(ctx, batch{b.statement, others})
}

// spoiled deals with an outcome that the database refuses to store for what it contains.
func (l *lane) spoiled(o outcome, err error) {
	message.Log(l.Log, slog.LevelError, "the database refuses to store the result of this message", &o.delivery.Message,
		slog.String("operation", o.Op.String()), slog.String("error", err.Error()))
	if !l.instead(o, ending.Spoiled{Planned: o.Ending, Err: err}) {
		l.postpone(o)
	}
}
