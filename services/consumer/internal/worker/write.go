package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/queue"
)

// unconfirmedTries is how often to hand back what a read whose commit went unanswered may have leased: a server that was
// cut off from us, or hung, may come to that commit only after we have looked. Together they span about a second.
const unconfirmedTries = 5

// write writes one batch. When it returns, each outcome of it has ended, is pending again, or is back with the settler: as it was, for ack work
// that is to be done in a smaller batch, or replaced by another outcome. On an error that is no fault of the batch all of it is
// pending, to be sent again as it is.
func (l *lane) write(ctx context.Context, b batch) error {
	l.progress.begin(0) // again for each statement: many slow ones in a row are no hang
	o := b.statement.op()
	start := time.Now()
	confirmed, fates, err := l.send(ctx, b)
	l.spans.settled(b, start, l.ackWork, err)
	fault := queue.Classify(err)
	l.metrics.StatementSeconds.WithLabelValues(b.statement.String()).Observe(time.Since(start).Seconds())
	var worked *ackWorkError
	switch {
	case err == nil:
		if l.ackWork == nil {
			l.most = min(l.most+l.most/8+1, mostWritten)
		}
		l.metrics.SettleBatch.WithLabelValues(o.String()).Observe(float64(len(b.items)))
		l.conclude(ctx, b, confirmed, fates)
		return nil
	case errors.As(err, &worked):
		return l.ackWorkFailed(b, worked)
	case fault == queue.TooLong && len(b.items) > 1:
		l.most = max(len(b.items)/2, 1)
		l.log.Debug("a statement took too long, trying with less", "operation", o.String(), "batch", len(b.items), "error", err.Error())
		return l.halve(ctx, b)
	case fault == queue.Spoiled && len(b.items) > 1:
		// One message spoils the batch. Halving finds it in a few statements, and the others get through.
		l.metrics.Isolated.Inc()
		return l.halve(ctx, b)
	case fault == queue.Spoiled:
		l.spoiled(b.items[0], err)
		return nil
	case fault == queue.Suppressed:
		return l.suppressed(ctx, b, err)
	case fault == queue.Locked:
		l.metrics.Locked.WithLabelValues(o.String()).Inc()
		for _, item := range b.items {
			l.postpone(item) // in a moment, and then only those that are free
		}
		return nil
	default:
		for _, item := range b.items {
			item.unsure = item.unsure || fault == queue.Unknown
			if queue.Answered(err) {
				l.held.leaveCompany(item.delivery) // nobody waits for what may take long
			}
			l.add(item)
		}
		return err
	}
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
	err = l.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		confirmed, err = b.send(ctx, conn, l.queue, entries, l.consumer)
		if err != nil || len(confirmed) == len(entries) {
			return err
		}
		// Without this knowledge what was confirmed is settled all the same, and the rest is sent again.
		fates, _ = l.queue.Fates(ctx, conn, missing(entries, confirmed), l.consumer)
		l.answerLate(ctx, conn, b, fates)
		return nil
	})
	return confirmed, fates, err
}

// answerLate takes back what others have to conclude of a lease that was lost: that its consumer died. It is alive, was stopped or cut
// off for a while, and has an answer. What could not be told of a start that had been made known is left out of fates, so that it is
// tried again.
func (l *lane) answerLate(ctx context.Context, conn *pgx.Conn, b batch, fates map[queue.Lease]queue.Fate) {
	var late []queue.Entry
	for _, item := range b.items {
		if fate, asked := fates[item.lease()]; asked && fate == queue.Lost && !item.unconfirmed {
			e := item.entry()
			e.Told = item.history(queue.OutcomeLeaseLost)
			late = append(late, e)
		}
	}
	if len(late) == 0 {
		return
	}
	if _, err := l.queue.Late(ctx, conn, late, l.consumer); err != nil {
		for _, item := range b.items {
			if item.delivery.known {
				delete(fates, item.lease())
			}
		}
	}
}

// conclude ends the deliveries of a batch that was written, each as its lease check came out.
func (l *lane) conclude(ctx context.Context, b batch, confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate) {
	o := b.statement.op()
	var told []outcome
	for _, item := range b.items {
		if item.suppressed {
			item.suppressed = false
			l.unwritten.end()
		}
		lease := item.lease()
		if took, ok := confirmed[lease]; ok {
			if o == opAck {
				ops.Observe(l.metrics.LatencySeconds, took.Seconds(), item.delivery.traceID())
				l.endings.tally.took(took)
			}
			l.done(item)
			if o == opNack || o == opRelease { // its message comes again
				told = append(told, item)
			}
			continue
		}
		fate, known := fates[lease]
		switch {
		case item.unconfirmed && known && item.tries >= unconfirmedTries:
			// The read was rolled back: there never was a lease, and who holds the message now got the same read_ct.
			l.drop(item)
		case !known, fate == queue.Held, fate == queue.Orphaned && o != opAck:
			l.postpone(item)
		case fate == queue.Orphaned:
			next := l.endings.outcome(item.delivery, orphaned{})
			logAbout(l.log, slog.LevelWarn, "message goes to the dead letters", &item.delivery.msg,
				slog.String("reason", next.reason), slog.String("error", next.problem))
			l.replace(next)
		case fate == queue.Done:
			l.done(item)
		case item.unconfirmed:
			l.postpone(item)
		case item.unsure && o != opAck:
			// Either it took effect and somebody has read the message since, or the lease was not ours any more. Both are well.
			l.drop(item)
		default:
			if item.delivery.lost { // the heartbeat has said so
				l.drop(item)
				continue
			}
			l.metrics.LeaseLost.WithLabelValues(o.String()).Inc()
			logAbout(l.log, slog.LevelWarn, "lease lost: the message has been read again or removed since; nothing was changed", &item.delivery.msg,
				slog.String("operation", o.String()), slog.Int("read_ct", int(item.delivery.msg.ReadCount)))
			l.drop(item)
		}
	}
	signal(l.room)
	l.notify(ctx, o, told)
}

// drop ends a delivery whose message is somebody else's.
func (l *lane) drop(o outcome) {
	l.held.drop(o.delivery)
	o.delivery.end("lost", ending{})
	if o.ackWork != nil {
		l.gate.attemptEnded(o.delivery, returned{err: handler.ErrLeaseLost, cause: handler.ErrLeaseLost})
	}
}

// done ends a delivery whose outcome is committed.
func (l *lane) done(o outcome) {
	l.held.drop(o.delivery)
	o.delivery.end(o.op.String(), o.ending)
	if o.op == opAck && o.ackWork != nil {
		l.gate.attemptEnded(o.delivery, returned{})
	}
	switch o.op {
	case opAck:
		l.metrics.Processed.Inc()
		l.endings.tally.completed.Add(1)
	case opNack:
		l.metrics.Retried.Inc()
		l.endings.tally.retried.Add(1)
	case opBury:
		l.endings.tally.dead.Add(1)
		l.metrics.Dead.WithLabelValues(o.reason).Inc()
	case opRelease:
		l.metrics.Released.Inc()
	}
}

// notify lets consumers know of messages that are due now, or sooner than they would look by themselves.
func (l *lane) notify(ctx context.Context, o op, items []outcome) {
	if len(items) == 0 || o != opNack && o != opRelease {
		return
	}
	soonest := max(slices.MinFunc(items, func(a, b outcome) int { return cmp.Compare(a.delay, b.delay) }).delay, 0)
	if !l.draining() {
		l.retryIn(soonest)
	}
	if soonest >= l.poll {
		return
	}
	payload := ""
	if soonest > 0 {
		payload = fmt.Sprintf("%s%d", retryPayload, soonest.Milliseconds())
	}
	if l.draining() {
		limited, cancel := context.WithTimeout(ctx, notifyLimit)
		defer cancel()
		ctx = limited
	}
	if err := l.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return l.queue.Notify(ctx, conn, payload)
	}); err != nil {
		l.log.Debug("could not notify other consumers; they will find the messages by polling", "error", err.Error())
	}
}

// postpone puts off an outcome that cannot be written just now, because somebody has locked its row, for instance. Nobody waits for it.
func (l *lane) postpone(o outcome) {
	l.held.leaveCompany(o.delivery)
	o.tries++
	o.after = time.Now().Add(backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second, Multiplier: 2}.Bound(o.tries))
	l.add(o)
}

// replace makes another outcome of a delivery that cannot end as planned.
func (l *lane) replace(into outcome) {
	l.held.change(into.delivery, leaving)
	l.settler.put(into)
}

// suppressed deals with a batch of which the database has silently kept some rows from being written. Those are neither lost nor given
// up: they wait until it works. The others are written without them.
func (l *lane) suppressed(ctx context.Context, b batch, err error) error {
	o := b.statement.op()
	concerned := queue.SuppressedMessages(err)
	var others, kept []outcome
	for _, item := range b.items {
		if concerned[item.delivery.msg.ID] {
			kept = append(kept, item)
		} else {
			others = append(others, item)
		}
	}
	if len(kept) == 0 {
		others, kept = nil, b.items
	}
	for _, item := range kept {
		if o == opNack && !item.messageOnly {
			item.messageOnly = true // the message can perhaps be delayed all the same
			l.add(item)
			continue
		}
		if !item.suppressed {
			item.suppressed = true
			l.unwritten.begin(err)
			logAbout(l.log, slog.LevelWarn, "a result cannot be written, because a row-level trigger suppresses it (`consumer doctor` names the triggers that may do that): trying again until it works",
				&item.delivery.msg, slog.String("operation", o.String()), slog.String("error", err.Error()))
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
	logAbout(l.log, slog.LevelError, "the database refuses to store the result of this message", &o.delivery.msg,
		slog.String("operation", o.op.String()), slog.String("error", err.Error()))
	next := l.endings.outcome(o.delivery, refused{o.ending, err})
	if next.ending == o.ending {
		l.postpone(o)
		return
	}
	if o.suppressed {
		l.unwritten.end()
	}
	next.unsure = o.unsure && next.op == o.op // an earlier try of the same statement
	l.replace(next)
}
