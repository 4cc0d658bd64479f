package worker

import (
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// op is how a lease is to end.
type op int

const (
	opAck op = iota
	opNack
	opBury
	opRelease
	operations
)

func (o op) String() string { return [...]string{"ack", "nack", "bury", "release"}[o] }

// outcome is what is to be written about a flight.
type outcome struct {
	flight  *flight
	op      op
	delay   time.Duration // nack
	reason  string        // bury
	problem string        // nack, bury

	unsure bool      // an earlier try may have taken effect
	unread bool      // the read that gave us the lease may not have taken effect
	untold bool      // the order cannot be written; only the message is
	after  time.Time // not to be tried before
	tries  int
}

func (o *outcome) entry() queue.Entry {
	e := queue.EntryOf(&o.flight.msg)
	e.Delay, e.Reason, e.Error, e.Unsure = o.delay, o.reason, o.problem, o.unsure
	if o.unread {
		e.Until = o.flight.msg.Until
	}
	return e
}
