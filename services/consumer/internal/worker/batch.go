package worker

import (
	"context"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/queue"
)

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
