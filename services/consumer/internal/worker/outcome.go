package worker

import (
	"time"

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
