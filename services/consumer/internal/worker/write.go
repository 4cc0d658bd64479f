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

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/queue"
)

// unconfirmedTries is how often to hand back what a read whose commit went unanswered may have leased: a server that was
// cut off from us, or hung, may come to that commit only after we have looked. Together they span about a second.
const unconfirmedTries = 5

// write writes one batch of one kind. Each outcome of it either ends, or is pending again when write returns. On an error
// that is no fault of the batch all of it is pending, to be sent again as it is.
func (s *settler) write(ctx context.Context, o op, batch []outcome) error {
	s.steps.settle.begin(0) // again for each statement: many slow ones in a row are no hang
	start := time.Now()
	confirmed, fates, err := s.send(ctx, o, batch)
	fault := queue.Classify(err)
	s.metrics.StatementSeconds.WithLabelValues(o.String()).Observe(time.Since(start).Seconds())
	switch {
	case err == nil:
		s.most = min(s.most+s.most/8+1, mostWritten)
		s.metrics.SettleBatch.WithLabelValues(o.String()).Observe(float64(len(batch)))
		s.conclude(ctx, o, batch, confirmed, fates)
		return nil
	case fault == queue.TooLong && len(batch) > 1:
		s.most = max(len(batch)/2, 1)
		s.log.Debug("a statement took too long, trying with less", "operation", o.String(), "batch", len(batch), "error", err.Error())
		return s.halve(ctx, o, batch)
	case fault == queue.Spoiled && len(batch) > 1:
		// One message spoils the batch. Halving finds it in a few statements, and the others get through.
		s.metrics.Isolated.Inc()
		return s.halve(ctx, o, batch)
	case fault == queue.Spoiled:
		s.spoiled(batch[0], err)
		return nil
	case fault == queue.Suppressed:
		return s.suppressed(ctx, o, batch, err)
	case fault == queue.Locked:
		s.metrics.Locked.WithLabelValues(o.String()).Inc()
		for _, item := range batch {
			s.later(item) // in a moment, and then only those that are free
		}
		return nil
	default:
		for _, item := range batch {
			item.unsure = item.unsure || fault == queue.Unknown
			s.add(item)
		}
		return err
	}
}

func (s *settler) halve(ctx context.Context, o op, batch []outcome) error {
	half := len(batch) / 2
	return errors.Join(s.write(ctx, o, batch[:half]), s.write(ctx, o, batch[half:]))
}

// send makes the round trip, and a second one when something was not confirmed: to see what became of it.
func (s *settler) send(ctx context.Context, o op, batch []outcome) (confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate, err error) {
	entries := make([]queue.Entry, len(batch))
	for i := range batch {
		entries[i] = batch[i].entry()
	}
	err = s.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		switch {
		case o == opAck && batch[0].tries > 0:
			confirmed, err = s.queue.AckUnlocked(ctx, conn, entries, s.settings.ID)
		case o == opAck:
			confirmed, err = s.queue.Ack(ctx, conn, entries, s.settings.ID)
		case o == opNack && batch[0].messageOnly:
			confirmed, err = s.queue.NackMessageOnly(ctx, conn, entries)
		case o == opNack:
			confirmed, err = s.queue.Nack(ctx, conn, entries)
		case o == opBury:
			confirmed, err = s.queue.Bury(ctx, conn, entries, s.settings.ID)
		case o == opRelease:
			confirmed, err = s.queue.Release(ctx, conn, entries)
		}
		if err != nil || len(confirmed) == len(entries) {
			return err
		}
		// Without this knowledge what was confirmed is settled all the same, and the rest is sent again.
		fates, _ = s.queue.Fates(ctx, conn, missing(entries, confirmed), s.settings.ID)
		return nil
	})
	return confirmed, fates, err
}

// conclude ends the deliveries of a batch that was written, each as its lease check came out.
func (s *settler) conclude(ctx context.Context, o op, batch []outcome, confirmed queue.Confirmed, fates map[queue.Lease]queue.Fate) {
	var told []outcome
	for i := range batch {
		if batch[i].kept {
			batch[i].kept = false
			s.unwritten.end()
		}
	}
	for _, item := range batch {
		lease := item.entry().Lease
		if took, ok := confirmed[lease]; ok {
			if o == opAck {
				s.metrics.LatencySeconds.Observe(took.Seconds())
			}
			s.done(item)
			told = append(told, item)
			continue
		}
		fate, known := fates[lease]
		switch {
		case item.unconfirmed && known && item.tries >= unconfirmedTries:
			// The read was rolled back: there never was a lease, and who holds the message now got the same read_ct.
			s.held.drop(item.delivery)
		case !known, fate == queue.Held, fate == queue.Orphaned && o != opAck:
			s.later(item)
		case fate == queue.Orphaned:
			next := s.outcome(item.delivery, orphaned{})
			s.logAbout(slog.LevelWarn, "message goes to the dead letters", &item.delivery.msg,
				slog.String("reason", next.reason), slog.String("error", next.problem))
			s.turn(next)
		case fate == queue.Done:
			s.done(item)
		case item.unconfirmed:
			s.later(item)
		case item.unsure && o != opAck:
			// Either it took effect and somebody has read the message since, or the lease was not ours any more. Both are well.
			s.held.drop(item.delivery)
		default:
			s.metrics.LeaseLost.WithLabelValues(o.String()).Inc()
			s.logAbout(slog.LevelWarn, "lease lost: the message has been read again or removed since; nothing was changed", &item.delivery.msg,
				slog.String("operation", o.String()), slog.Int("read_ct", int(item.delivery.msg.ReadCount)))
			s.held.drop(item.delivery)
		}
	}
	signal(s.load.room)
	s.tell(ctx, o, told)
}

// done ends a delivery whose outcome is committed.
func (s *settler) done(o outcome) {
	s.held.drop(o.delivery)
	switch o.op {
	case opAck:
		s.metrics.Processed.Inc()
	case opNack:
		s.metrics.Retried.Inc()
	case opBury:
		s.metrics.Dead.WithLabelValues(o.reason).Inc()
	case opRelease:
		s.metrics.Released.Inc()
	}
}

// tell lets consumers know of messages that are due now, or sooner than they would look by themselves.
func (s *settler) tell(ctx context.Context, o op, items []outcome) {
	if len(items) == 0 || o != opNack && o != opRelease {
		return
	}
	var soonest time.Duration
	if o == opNack {
		soonest = slices.MinFunc(items, func(a, b outcome) int { return cmp.Compare(a.delay, b.delay) }).delay
	}
	if !s.draining.Load() {
		s.poller.retryIn(soonest)
	}
	if soonest >= s.settings.Poll {
		return
	}
	payload := ""
	if o == opNack {
		payload = fmt.Sprintf("%s%d", retryPayload, soonest.Milliseconds())
	}
	if s.draining.Load() {
		limited, cancel := context.WithTimeout(ctx, notifyLimit)
		defer cancel()
		ctx = limited
	}
	if err := s.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return s.queue.Notify(ctx, conn, payload)
	}); err != nil {
		s.log.Debug("could not notify other consumers; they will find the messages by polling", "error", err.Error())
	}
}

// later puts an outcome off whose row is locked by somebody.
func (s *settler) later(o outcome) {
	o.tries++
	o.after = time.Now().Add(backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second, Multiplier: 2}.Bound(o.tries))
	s.add(o)
}

// turn makes another outcome of a delivery that cannot end as planned.
func (s *settler) turn(into outcome) {
	s.held.change(into.delivery, leaving)
	s.add(into)
}

// suppressed deals with a batch of which the database has silently kept some rows from being written. Those are neither lost nor given
// up: they wait until it works. The others are written without them.
func (s *settler) suppressed(ctx context.Context, o op, batch []outcome, err error) error {
	concerned := queue.SuppressedMessages(err)
	var others, kept []outcome
	for _, item := range batch {
		if concerned[item.delivery.msg.ID] {
			kept = append(kept, item)
		} else {
			others = append(others, item)
		}
	}
	if len(kept) == 0 {
		others, kept = nil, batch
	}
	for _, item := range kept {
		if o == opNack && !item.messageOnly {
			item.messageOnly = true // the message can perhaps be delayed all the same
			s.add(item)
			continue
		}
		if !item.kept {
			item.kept = true
			s.unwritten.begin(err)
			s.logAbout(slog.LevelWarn, "a result cannot be written, because a row-level trigger suppresses it (`consumer doctor` names the triggers that may do that): trying again until it works",
				&item.delivery.msg, slog.String("operation", o.String()), slog.String("error", err.Error()))
		}
		s.later(item)
	}
	if len(others) == 0 {
		return nil
	}
	return s.write(ctx, o, others)
}

// spoiled deals with an outcome that the database refuses to store for what it contains.
func (s *settler) spoiled(o outcome, err error) {
	s.logAbout(slog.LevelError, "the database refuses to store the result of this message", &o.delivery.msg,
		slog.String("operation", o.op.String()), slog.String("error", err.Error()))
	next := s.outcome(o.delivery, refused{o.ending, err})
	if next.ending == o.ending {
		s.later(o)
		return
	}
	if o.kept {
		s.unwritten.end()
	}
	next.unsure = o.unsure && next.op == o.op // an earlier try of the same statement
	s.turn(next)
}
