// Package lease owns the leases that this consumer holds: which stage each delivery is in, who may write about it at the moment, how many may
// be worked on beside each other, and that leases are extended before they end. It decides who ends a delivery, once; how it ends is not its
// business. It must never end a lease itself, and never wait for the database where only time matters.
package lease

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/message"
)

// Delivery is one delivery of a message while we hold its lease. What is not exported is guarded by the Set that it is in.
type Delivery struct {
	Message message.Message
	Ticket  gating.Ticket // the gate's
	Span    trace.Span    // nil: nobody records its trace

	stage     Stage
	read      time.Time // when the read that leased it was answered, on our monotonic clock
	started   time.Time // start of its handler, likewise; zero: not started
	until     time.Time // the lease holds at least until then: counted from before its statement was sent, on our monotonic clock
	renew     time.Time // when it is to be extended
	claimedBy claimant  // whose statement about it is under way
	deadline  time.Time // of its handler
	cancel    context.CancelCauseFunc
	member    bool // it is in the company of those that are worked on
	stays     bool // it is so until its end has been written
	known     bool // its start has been made known, and so has to be answered, even late
	lost      bool // another consumer has it, as the heartbeat has found out
	warned    bool // its handler has been cancelled because the lease ran out
	inAckWork bool // its ack work waits, or is being done
}

// New is a delivery of a message that was leased for length, by a statement that was sent and answered then.
func New(m *message.Message, sent, answered time.Time, length time.Duration) *Delivery {
	until := sent.Add(length)
	return &Delivery{
		Message: *m, Ticket: gating.NewTicket(m.ID), read: answered, until: until, renew: renewal(answered, until),
	}
}

// Stage is how far a delivery has come.
type Stage int

const (
	buffered Stage = iota // waits for a worker
	running               // its handler runs
	Acking                // done; until the ack has been written the lease is extended, but not while that is tried
	Leaving               // to be delayed, handed back or buried: extending it now would undo that
	gone                  // its lease has ended
)

// bytes is what the delivery's message takes in memory.
func (d *Delivery) bytes() int64 { return int64(len(d.Message.Body) + len(d.Message.Headers)) }

// Suspicion is how suspect its message is.
func (d *Delivery) Suspicion() Suspicion { return suspicionOf(d.Message.Unanswered) }

// Known says of a delivery that has been decided whether the start of its handler was made known, and so has to be answered, even late.
func (d *Delivery) Known() bool { return d.known }

// Lost says of a delivery that has been decided whether the heartbeat had found out that another consumer has it.
func (d *Delivery) Lost() bool { return d.lost }

// Started is when the handler of a delivery that has been decided was started, by the database's clock; zero: not at all.
func (d *Delivery) Started() message.Instant { return d.Stamp(d.started) }

// Stamp is a moment of ours by the database's clock: as long after the read that leased the message.
func (d *Delivery) Stamp(moment time.Time) message.Instant {
	leased, ok := d.Message.Leased.Time()
	if !ok || moment.IsZero() || d.read.IsZero() {
		return message.Instant{}
	}
	return message.InstantOf(leased.Add(moment.Sub(d.read)))
}

// TraceID is that of a recorded trace; else empty.
func (d *Delivery) TraceID() string {
	if d.Span == nil {
		return ""
	}
	return d.Span.SpanContext().TraceID().String()
}
