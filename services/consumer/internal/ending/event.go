package ending

import (
	"errors"
	"time"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// Event is what happened to a delivery.
type Event interface{ isEvent() }

type (
	// Arrived says that it has been read. Poison is nil for an order that can be processed.
	Arrived struct{ Poison *message.Poison }
	// Returned says that its handler has returned, after a time that it has occupied a worker. Cause is why the handler's context had ended, if it had.
	// Uncounted: a failure is no attempt, since the breaker says that what the handler calls is down.
	Returned struct {
		Err, Cause error
		Took       time.Duration
		Uncounted  bool
	}
	// Unstarted says that no handler will be given it. InPlace: it is to be in line again where it was, before what has become due since.
	Unstarted struct{ InPlace bool }
	// Orphaned says that its order is not there any more.
	Orphaned struct{}
	// Refused says that the database does not take what was to be written about it, for what it contains.
	Refused struct {
		Planned Ending
		Err     error
	}
)

func (Arrived) isEvent()   {}
func (Returned) isEvent()  {}
func (Unstarted) isEvent() {}
func (Orphaned) isEvent()  {}
func (Refused) isEvent()   {}

// Overran is what counts for a delivery whose handler goes on although its deadline, limit after its start, is over.
func Overran(limit time.Duration) Returned {
	return Returned{Err: handler.ErrTimeout, Cause: handler.ErrTimeout, Took: limit}
}

// Failure is what a failed attempt counts as. It is a label of the metric of failures.
type Failure string

const (
	timeout     Failure = "timeout"
	panicked    Failure = "panic"
	permanent   Failure = "permanent"
	throttled   Failure = "throttled"
	unavailable Failure = "unavailable"
	ownError    Failure = "error"
	unwritten   Failure = "write"
)

// failure is what the handler's error means; empty when there is none.
func (e Returned) failure() Failure {
	var panics *handler.PanicError
	_, patience := handler.AsksForPatience(e.Err)
	switch {
	case e.Err == nil:
		return ""
	case errors.As(e.Err, &panics):
		return panicked
	case handler.IsPermanent(e.Err):
		return permanent
	case patience:
		return throttled
	case errors.Is(e.Cause, handler.ErrTimeout):
		return timeout
	case handler.IsUnavailable(e.Err):
		return unavailable
	}
	return ownError
}

// brokenOff says whether we have broken the handler off: then it did not fail.
func (e Returned) brokenOff() bool {
	return e.Err != nil &&
		(errors.Is(e.Cause, handler.ErrDraining) || errors.Is(e.Cause, handler.ErrLeaseExpired) || errors.Is(e.Cause, handler.ErrLeaseLost))
}

// Says is what the attempt says about what the handler calls, if anything.
func (e Returned) Says() (r gate.Result, says bool) {
	if e.brokenOff() {
		return 0, false
	}
	switch e.failure() {
	case throttled:
		return gate.Throttled, true
	case timeout, unavailable:
		return gate.Unavailable, true
	default:
		return gate.Answered, true
	}
}
