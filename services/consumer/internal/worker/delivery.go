package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/services/consumer/internal/message"
)

// delivery is one delivery of a message while we hold its lease. Its fields but msg, span, read, due and gateNotes are guarded by held.
type delivery struct {
	gateNotes
	msg       message.Message
	span      trace.Span // nil: nobody records its trace. It guards itself
	stage     stage
	read      time.Time // when the read that leased it was answered, on our monotonic clock
	started   time.Time // start of its handler, likewise; zero: not started
	until     time.Time // the lease holds at least until then: counted from before its statement was sent, on our monotonic clock
	renew     time.Time // when it is to be extended
	claimedBy claimant  // whose statement about it is under way
	deadline  time.Time // of its handler
	cancel    context.CancelCauseFunc
	member    bool      // it is in the company of those that are worked on
	stays     bool      // it is so until its end has been written
	known     bool      // its start has been made known, and so has to be answered, even late
	lost      bool      // another consumer has it, as the heartbeat has found out
	warned    bool      // its handler has been cancelled because the lease ran out
	inAckWork bool      // its ack work waits, or is being done
	due       time.Time // when it was due before it was read, on our clock
}

// bytes is what the delivery's message takes in memory.
func (d *delivery) bytes() int64 { return int64(len(d.msg.Body) + len(d.msg.Headers)) }

func (d *delivery) suspicion() suspicion { return suspicionOf(d.msg.Unanswered) }

// gateNotes are what the gate knows of a delivery, and guards.
type gateNotes struct {
	probe    bool // to find out whether the breaker may close
	epoch    int  // of the gate, when its handler began
	reported bool // the gate has heard how it ended
}

type stage int

const (
	buffered stage = iota // waits for a worker
	running               // its handler runs
	acking                // done; until the ack has been written the lease is extended, but not while that is tried
	leaving               // to be delayed, handed back or buried: extending it now would undo that
	gone                  // its lease has ended
)

// stamp is a moment of ours by the database's clock: as long after the read that leased the message.
func (d *delivery) stamp(moment time.Time) message.Instant {
	leased, ok := d.msg.Leased.Time()
	if !ok || moment.IsZero() || d.read.IsZero() {
		return message.Instant{}
	}
	return message.InstantOf(leased.Add(moment.Sub(d.read)))
}
