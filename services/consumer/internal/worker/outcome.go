package worker

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/queue"
)

// outcome is a delivery with how it is to end.
type outcome struct {
	delivery *delivery
	ending
	at time.Time // of the end: of its handler, where one was started

	unsure      bool      // an earlier try may have taken effect
	unconfirmed bool      // the read that gave us the lease may not have taken effect
	suppressed  bool      // the last try was suppressed by the database
	after       time.Time // not to be tried before
	tries       int

	ackWork   any  // what a handler has left, if any
	losses    int  // times that the connection was lost in the middle of its ack work, and of no other order's
	conflicts int  // times that its ack work, and no other order's, ran into another transaction
	overran   bool // its ack work alone took too long
	company   int  // the most that may be written with it, because a statement with more failed; 0: as many as there are
}

// endings makes outcomes.
type endings struct {
	rules   rules
	metrics *metrics.Metrics
	tally   *tally
}

// outcome decides how a delivery ends.
func (e endings) outcome(d *delivery, what event) outcome {
	end, _ := e.rules.decide(&d.msg, what)
	return e.ends(d, end)
}

// ends counts what an ending says about its attempt: once, and so only when it is settled.
func (e endings) ends(d *delivery, end ending) outcome {
	if end.failure != "" && !end.counted {
		e.metrics.Failed.WithLabelValues(end.failure).Inc()
		e.tally.failed.Add(1)
	}
	return outcome{delivery: d, ending: end, at: time.Now()}
}

func (o *outcome) lease() queue.Lease { return queue.LeaseOf(&o.delivery.msg) }

// history is what the history of the order is told of the delivery. Whether one that was lost has counted late.sql finds out.
func (o *outcome) history(outcome string) *queue.Told {
	counted := !o.untried && o.op != opRelease
	return queue.Tell(&o.delivery.msg, outcome, counted, o.delivery.stamp(o.at))
}

func (o *outcome) entry() queue.Entry {
	e := queue.EntryOf(&o.delivery.msg)
	e.Delay, e.Reason, e.Error, e.Unsure = o.delay, o.reason, o.problem, o.unsure
	if o.op == opRelease && o.failure != "" {
		e.Unanswered = 0 // its handler has come back
	}
	if o.untried {
		e.Attempt, e.Failed = e.Attempt-1, e.Failed-1
	}
	e.Started = o.delivery.stamp(o.delivery.started)
	if o.op != opAck {
		e.Told = o.history(o.historyOutcome())
	}
	if o.unconfirmed {
		e.Until = o.delivery.msg.Until
	}
	return e
}

// statement is what one round trip writes.
type statement int

const (
	ack statement = iota
	ackUnlocked
	ackWithWork
	ackWithWorkUnlocked
	nack
	nackMessageOnly
	bury
	release
)

// statement says which one writes an outcome.
func (o *outcome) statement() statement {
	switch o.op {
	case opAck:
		switch {
		case o.ackWork != nil && o.tries > 0:
			return ackWithWorkUnlocked
		case o.ackWork != nil:
			return ackWithWork
		}
		if o.tries > 0 {
			return ackUnlocked
		}
		return ack
	case opNack:
		if o.messageOnly {
			return nackMessageOnly
		}
		return nack
	case opBury:
		return bury
	default:
		return release
	}
}

// op is the kind of outcome that it writes.
func (s statement) op() op {
	return [...]op{ack: opAck, ackUnlocked: opAck, ackWithWork: opAck, ackWithWorkUnlocked: opAck, nack: opNack, nackMessageOnly: opNack, bury: opBury, release: opRelease}[s]
}

// withAckWork says whether the statement is part of a transaction with ack work in it.
func (s statement) withAckWork() bool { return s == ackWithWork || s == ackWithWorkUnlocked }

func (s statement) String() string {
	if s.withAckWork() {
		return "ack_with_work"
	}
	return s.op().String()
}

// batch is what one statement is to write.
type batch struct {
	statement statement
	items     []outcome
}

func (b batch) halves() (one, two batch) {
	half := len(b.items) / 2
	return batch{b.statement, b.items[:half]}, batch{b.statement, b.items[half:]}
}

// send writes entries, which are those of the batch.
func (b batch) send(ctx context.Context, conn *pgx.Conn, q *queue.Queue, entries []queue.Entry, consumer string) (queue.Confirmed, error) {
	switch b.statement {
	case ack:
		return q.Ack(ctx, conn, entries, consumer)
	case ackUnlocked:
		return q.AckUnlocked(ctx, conn, entries, consumer)
	case nack:
		return q.Nack(ctx, conn, entries, consumer)
	case nackMessageOnly:
		return q.NackMessageOnly(ctx, conn, entries, consumer)
	case bury:
		return q.Bury(ctx, conn, entries, consumer)
	default:
		return q.Release(ctx, conn, entries, consumer)
	}
}

// mostBuried is how many bytes one statement moves to the dead letters: some seconds' worth for a slow disk.
const mostBuried = 8 << 20

// cut makes batches of no more than most. Burying writes the whole message once more, within the database, and some are buried for
// their size.
func cut(s statement, items []outcome, most int) iter.Seq[batch] {
	if s != bury {
		return func(yield func(batch) bool) {
			for chunk := range slices.Chunk(items, most) {
				if !yield(batch{s, chunk}) {
					return
				}
			}
		}
	}
	return func(yield func(batch) bool) {
		begin, bytes := 0, int64(0)
		for i := range items {
			size := items[i].delivery.msg.Size
			if i > begin && (i-begin >= most || bytes+size > mostBuried) {
				if !yield(batch{s, items[begin:i]}) {
					return
				}
				begin, bytes = i, 0
			}
			bytes += size
		}
		if begin < len(items) {
			yield(batch{s, items[begin:]})
		}
	}
}
