package ending

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// Rules are what decides between another attempt and the dead letters.
type Rules struct {
	maxAttempts int
	maxCrashes  int
	backoff     func(attempt int) time.Duration // draws the wait after a failed attempt
	longest     time.Duration                   // that it ever draws
}

// NewRules gives an order so many attempts, and lets it be the death of so many consumers.
func NewRules(maxAttempts, maxCrashes int, p backoff.Policy) Rules {
	return Rules{maxAttempts: maxAttempts, maxCrashes: maxCrashes, backoff: p.Delay, longest: p.Max}
}

// Decide is the one place that says how a delivery ends.
func (r Rules) Decide(m *message.Message, e Event) Ending {
	switch e := e.(type) {
	case Arrived:
		return r.onArrival(m, e.Poison)
	case Returned:
		return r.afterHandler(m, e)
	case Unstarted:
		return Ending{Op: Release, InPlace: e.InPlace}
	case Orphaned:
		poison := message.UnknownOrder(m.OrderID) // it was there when the message was read
		return Ending{Op: Bury, Reason: poison.Reason, Problem: poison.Problem}
	case Spoiled:
		return r.instead(m, e.Planned, e.Err)
	case Suppressed:
		if e.Planned.Op == Nack {
			e.Planned.MessageOnly = true // the message can perhaps be delayed all the same
		}
		return e.Planned // anything else waits until it can be written
	default:
		panic("unknown event")
	}
}

func (r Rules) onArrival(m *message.Message, poison *message.Poison) Ending {
	switch {
	case poison != nil:
		return Ending{Op: Bury, Reason: poison.Reason, Problem: poison.Problem, Untried: true}
	case int(m.Crashes) >= min(r.maxCrashes, r.maxAttempts):
		return Ending{Op: Bury, Reason: message.ReasonCrashed, Problem: history(m), Untried: true}
	case m.Attempt > r.maxAttempts:
		// The last one ended with its consumer, or could not be buried, or MAX_ATTEMPTS has been lowered.
		return Ending{Op: Bury, Reason: message.ReasonMaxAttempts, Problem: history(m), Untried: true}
	}
	return Ending{}
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

func (r Rules) afterHandler(m *message.Message, e Returned) Ending {
	switch {
	case e.Err == nil:
		return Ending{Op: Ack} // done is done, however late: the lease check has the last word
	case e.brokenOff():
		return Ending{Op: Release}
	}
	failure, err := e.failure(), e.Err
	if failure == timeout && !errors.Is(err, handler.ErrTimeout) {
		err = fmt.Errorf("%w: %w", handler.ErrTimeout, err)
	}
	switch {
	case failure == throttled:
		after, _ := handler.AsksForPatience(err)
		return Ending{Op: Release, Delay: after + r.backoff(1), Problem: err.Error(), Failure: failure}
	case e.Uncounted:
		// It comes again soon, though behind what is due already, so that the next probe is another order's.
		return Ending{Op: Release, Delay: r.backoff(1), Problem: err.Error(), Failure: failure}
	case failure == permanent:
		return Ending{Op: Bury, Reason: message.ReasonPermanent, Problem: err.Error(), Failure: failure}
	}
	return r.failed(m, failure, err)
}

func (r Rules) failed(m *message.Message, kind Failure, err error) Ending {
	if m.Attempt >= r.maxAttempts {
		return Ending{Op: Bury, Reason: message.ReasonMaxAttempts, Problem: err.Error(), Failure: kind}
	}
	return Ending{Op: Nack, Delay: handler.Delay(err, r.backoff(m.Attempt)), Problem: err.Error(), Failure: kind}
}

// instead finds an ending that can be written, or returns the planned one, to be tried again.
func (r Rules) instead(m *message.Message, planned Ending, err error) Ending {
	switch planned.Op {
	case Ack:
		return r.failed(m, unwritten, fmt.Errorf("could not be written: %w", err))
	case Nack:
		planned.MessageOnly = true
	case Bury:
		// Neither completed nor buried: it must not be lost, so it comes back as late as any retry can.
		return Ending{
			Op: Nack, MessageOnly: true, Delay: r.longest, Problem: planned.Problem + "; and: " + err.Error(),
			Failure: planned.Failure, Untried: planned.Untried,
		}
	default: // a release says nothing that could spoil it
	}
	return planned
}
