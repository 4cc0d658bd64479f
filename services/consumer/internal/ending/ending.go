// Package ending owns the decision how a delivery ends: what happened to it goes in; ack, nack, bury or release comes out. It
// draws the backoff at random, and depends on nothing else. It must never ask the database or the clock, and nobody else may decide between
// another attempt and the dead letters.
package ending

import (
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// Op is how a lease is to end.
type Op int

const (
	None Op = iota // not at all: the message is to be worked on
	Ack
	Nack
	Bury
	Release
)

// Ops are all but None. Acks come first: what is done is not to wait for what is not.
func Ops() []Op { return []Op{Ack, Nack, Bury, Release} }

func (o Op) String() string { return [...]string{"none", "ack", "nack", "bury", "release"}[o] }

// Ending is how a delivery ends, and what is written about it.
type Ending struct {
	Op          Op
	Delay       time.Duration // Nack, Release
	InPlace     bool          // Release: it is due as it was before it was read
	Reason      string        // Bury: one of package message's
	Problem     string        // Nack, Bury: what the order and its history are told; Release: what its history is told, after a failure
	MessageOnly bool          // Nack: the order cannot be written; only the message is
	Failure     Failure       // of the attempt; empty: none
	Untried     bool          // no handler has been started: it is no attempt
}

// Ends is false for what is to be worked on.
func (e Ending) Ends() bool { return e.Op != None }

// HistoryOutcome is what the history of the order calls it.
func (e Ending) HistoryOutcome() string {
	switch {
	case e.Op == Release, e.Op == Nack && e.Untried:
		return queue.OutcomeReleased
	case e.Untried:
		return queue.OutcomeBuried
	}
	switch e.Failure {
	case timeout:
		return queue.OutcomeTimedOut
	case panicked:
		return queue.OutcomePanicked
	case permanent:
		return queue.OutcomePermanent
	default:
		return queue.OutcomeFailed
	}
}
