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
	// Returned says that its handler has returned, or that its work in the transaction of the ack is over. Cause is why the handler's context had
	// ended, if it had. Took is how long it has occupied a worker; 0 for ack work, which occupies none. Uncounted: a failure does not count, since
	// the breaker says that what the handler calls is down.
	Returned struct {
		Err, Cause error
		Took       time.Duration
		Uncounted  bool
	}
	// Unstarted says that no handler will be given it. InPlace: it is to be in line again where it was, before what has become due since.
	Unstarted struct{ InPlace bool }
	// Orphaned says that its order is not there any more.
	Orphaned struct{}
	// Spoiled says that the database does not take what was to be written about it, for what it contains.
	Spoiled struct {
		Planned Ending
		Err     error
	}
	// Suppressed says that a trigger keeps what was to be written about it from being written.
	Suppressed struct{ Planned Ending }
)

func (Arrived) isEvent()    {}
func (Returned) isEvent()   {}
func (Unstarted) isEvent()  {}
func (Orphaned) isEvent()   {}
func (Spoiled) isEvent()    {}
func (Suppressed) isEvent() {}

// Overran is what counts for a delivery whose handler goes on although its deadline, limit after its start, is over.
func Overran(limit time.Duration) Returned {
	return Returned{Err: handler.ErrTimeout, Cause: handler.ErrTimeout, Took: limit}
}

// Failure is the kind of an attempt's failure, whether or not that counts. It is a label of the metric of failures.
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
