package settle

import (
	"iter"
	"slices"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
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
	switch o.Op {
	case ending.Ack:
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
	case ending.Nack:
		if o.MessageOnly {
			return nackMessageOnly
		}
		return nack
	case ending.Bury:
		return bury
	default:
		return release
	}
}

// op is the kind of outcome that it writes.
func (s statement) op() ending.Op {
	return [...]ending.Op{
		ack: ending.Ack, ackUnlocked: ending.Ack, ackWithWork: ending.Ack, ackWithWorkUnlocked: ending.Ack,
		nack: ending.Nack, nackMessageOnly: ending.Nack, bury: ending.Bury, release: ending.Release,
	}[s]
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

func (b batch) deliveries() []*lease.Delivery {
	deliveries := make([]*lease.Delivery, len(b.items))
	for i := range b.items {
		deliveries[i] = b.items[i].delivery
	}
	return deliveries
}

// half is how many of its outcomes are to be together next.
func (b batch) half() int { return max(len(b.items)/2, 1) }

func (b batch) halves() (one, two batch) {
	half := b.half()
	return batch{b.statement, b.items[:half]}, batch{b.statement, b.items[half:]}
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
			size := items[i].delivery.Message.Size
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
