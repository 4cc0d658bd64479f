package worker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
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

func (o op) plural() string { return [...]string{"acks", "nacks", "burials", "releases"}[o] }

// ending is how a delivery ends, and what is written about it.
type ending struct {
	op          op
	delay       time.Duration // nack, release: below 0 it is due as long ago as that
	reason      string        // bury
	problem     string        // nack, bury: what the order is told
	messageOnly bool          // nack: the order cannot be written; only the message is
	failure     string        // kind of failure that an attempt counts as; empty: none
	counted     bool          // in the metric of failures
	untried     bool          // no handler has been started: it is no attempt
}

// historyOutcome is what the history of the order calls it.
func (e ending) historyOutcome() string {
	switch {
	case e.op == opRelease, e.op == opNack && e.untried:
		return queue.OutcomeReleased
	case e.untried:
		return queue.OutcomeBuried
	}
	switch e.failure {
	case "timeout":
		return queue.OutcomeTimedOut
	case "panic":
		return queue.OutcomePanicked
	case "permanent":
		return queue.OutcomePermanent
	default:
		return queue.OutcomeFailed
	}
}

// event is what happened to a delivery.
type event interface{ isEvent() }

type (
	// arrived: it has been read. poison is nil for an order that can be processed.
	arrived struct{ poison *message.Poison }
	// returned: its handler has, after a time that it has occupied a worker. cause is why the handler's context had ended, if it had.
	// uncounted: a failure is no attempt, since the breaker says that what the handler calls is down.
	returned struct {
		err, cause error
		took       time.Duration
		uncounted  bool
	}
	// overrun: its handler goes on although its deadline is over. uncounted as above.
	overrun struct{ uncounted bool }
	// unstarted: no handler will be given it. It had been due for so long.
	unstarted struct{ ago time.Duration }
	// orphaned: its order is not there any more.
	orphaned struct{}
	// refused: the database does not take what was to be written about it, for what it contains.
	refused struct {
		planned ending
		err     error
	}
)

func (arrived) isEvent()   {}
func (returned) isEvent()  {}
func (overrun) isEvent()   {}
func (unstarted) isEvent() {}
func (orphaned) isEvent()  {}
func (refused) isEvent()   {}

// rules are what decides between another attempt and the dead letters.
type rules struct {
	maxAttempts int
	maxCrashes  int
	backoff     func(attempt int) time.Duration // draws the wait after a failed attempt
	longest     time.Duration                   // that it ever draws
}

func newRules(maxAttempts, maxCrashes int, p backoff.Policy) rules {
	return rules{maxAttempts: maxAttempts, maxCrashes: maxCrashes, backoff: p.Delay, longest: p.Max}
}

// decide is the one place that says how a delivery ends. ends is false for what is to be worked on.
func (r rules) decide(m *message.Message, e event) (end ending, ends bool) {
	switch e := e.(type) {
	case arrived:
		return r.onArrival(m, e.poison)
	case returned:
		return r.afterHandler(m, e), true
	case overrun:
		return r.unless(e.uncounted, r.failed(m, "timeout", handler.ErrTimeout)), true
	case unstarted:
		return ending{op: opRelease, delay: -max(e.ago, 0)}, true
	case orphaned:
		poison := message.UnknownOrder(m.OrderID) // it was there when the message was read
		return ending{op: opBury, reason: poison.Reason, problem: poison.Problem}, true
	case refused:
		return r.afterRefusal(m, e.planned, e.err), true
	default:
		panic("unknown event")
	}
}

func (r rules) onArrival(m *message.Message, poison *message.Poison) (end ending, ends bool) {
	switch {
	case poison != nil:
		return ending{op: opBury, reason: poison.Reason, problem: poison.Problem, untried: true}, true
	case int(m.Crashes) >= min(r.maxCrashes, r.maxAttempts):
		return ending{op: opBury, reason: message.ReasonCrashed, problem: history(m), untried: true}, true
	case m.Attempt > r.maxAttempts:
		// The last one ended with its consumer, or could not be buried, or MAX_ATTEMPTS has been lowered.
		return ending{op: opBury, reason: message.ReasonMaxAttempts, problem: history(m), untried: true}, true
	}
	return ending{}, false
}

// history tells how the attempts have ended that a message has had.
func history(m *message.Message) string {
	var told []string
	if m.Crashes > 0 {
		told = append(told, fmt.Sprintf("the consumer died %s while it worked on this order and on nothing else", times(m.Crashes)))
	}
	if m.Failed > 0 {
		told = append(told, fmt.Sprintf("it failed %s", times(m.Failed)))
	}
	if m.LastError != "" {
		told = append(told, "the last error was: "+m.LastError)
	}
	return strings.Join(told, "; ")
}

func times(n int32) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// brokenOff says whether we have broken the handler off: then it did not fail.
func (e returned) brokenOff() bool {
	return errors.Is(e.cause, handler.ErrDraining) || errors.Is(e.cause, handler.ErrLeaseExpired) || errors.Is(e.cause, handler.ErrLeaseLost)
}

// says is what the attempt says about what the handler calls, if anything.
func (e returned) says() (r gate.Result, says bool) {
	var panicked *panicked
	_, patience := handler.AsksForPatience(e.err)
	switch {
	case e.err == nil:
		return gate.Answered, true
	case e.brokenOff():
		return 0, false
	case handler.IsPermanent(e.err), errors.As(e.err, &panicked):
		return gate.Answered, true
	case patience:
		return gate.Throttled, true
	case handler.IsUnavailable(e.err), errors.Is(e.cause, handler.ErrTimeout):
		return gate.Unavailable, true
	}
	return gate.Answered, true
}

func (r rules) afterHandler(m *message.Message, e returned) ending {
	switch {
	case e.err == nil:
		return ending{op: opAck} // done is done, however late: the lease check has the last word
	case e.brokenOff():
		return ending{op: opRelease}
	}
	after, patience := handler.AsksForPatience(e.err)
	if patience {
		return ending{op: opRelease, delay: after + r.backoff(1), problem: e.err.Error(), failure: "throttled"}
	}
	return r.unless(e.uncounted, r.afterFailure(m, e.err, e.cause))
}

// unless gives the ending of a failure, turned into a release when that is no attempt. It comes again soon, though behind what is due already,
// so that the next probe is another order's.
func (r rules) unless(uncounted bool, end ending) ending {
	if !uncounted {
		return end
	}
	return ending{op: opRelease, delay: r.backoff(1), problem: end.problem, failure: end.failure}
}

func (r rules) afterFailure(m *message.Message, err, cause error) ending {
	var panicked *panicked
	switch {
	case errors.As(err, &panicked):
		return r.failed(m, "panic", err)
	case handler.IsPermanent(err):
		return ending{op: opBury, reason: message.ReasonPermanent, problem: err.Error(), failure: "permanent"}
	case errors.Is(cause, handler.ErrTimeout):
		if !errors.Is(err, handler.ErrTimeout) {
			err = fmt.Errorf("%w: %w", handler.ErrTimeout, err)
		}
		return r.failed(m, "timeout", err)
	case handler.IsUnavailable(err):
		return r.failed(m, "unavailable", err)
	}
	return r.failed(m, "error", err)
}

func (r rules) failed(m *message.Message, kind string, err error) ending {
	if m.Attempt >= r.maxAttempts {
		return ending{op: opBury, reason: message.ReasonMaxAttempts, problem: err.Error(), failure: kind}
	}
	return ending{op: opNack, delay: handler.Delay(err, r.backoff(m.Attempt)), problem: err.Error(), failure: kind}
}

// afterRefusal finds an ending that can be written, or returns the planned one, to be tried again.
func (r rules) afterRefusal(m *message.Message, planned ending, err error) ending {
	switch planned.op {
	case opAck:
		return r.failed(m, "write", fmt.Errorf("could not be written: %w", err))
	case opNack:
		planned.messageOnly, planned.counted = true, true
	case opBury:
		// Neither completed nor buried: it must not be lost, so it comes back as late as any retry can.
		return ending{
			op: opNack, messageOnly: true, delay: r.longest, problem: planned.problem + "; and: " + err.Error(),
			failure: planned.failure, counted: true, untried: planned.untried,
		}
	default: // a hand-back says nothing that could be refused
	}
	return planned
}
