package consumer

import (
	"time"

	"orderflow.example/services/consumer/internal/handler"
)

// Permanent marks an error that no retry can mend: the order goes to the dead letters at once. nil stays nil.
func Permanent(err error) error { return handler.Permanent(err) }

// RetryAfter marks an error after which the next attempt is to come after d, instead of after the backoff. nil stays nil.
func RetryAfter(d time.Duration, err error) error { return handler.RetryAfter(d, err) }

// NotBefore marks an error after which the next attempt must not come before d is over. The backoff comes on top. nil stays nil.
func NotBefore(d time.Duration, err error) error { return handler.NotBefore(d, err) }

// Unavailable marks an error that says nothing about the order: what the handler calls is down, or lets nobody in. nil stays nil.
func Unavailable(err error) error { return handler.Unavailable(err) }

// Throttled marks an error by which what the handler calls asks for patience: no worker is to call it again before after is over (ten
// minutes at most), and this order comes back no earlier; 0 when it did not say how long. That is no attempt. nil stays nil.
func Throttled(after time.Duration, err error) error { return handler.Throttled(after, err) }

// Why a handler's context ended.
var (
	ErrTimeout      = handler.ErrTimeout      // HANDLER_TIMEOUT is over
	ErrLeaseLost    = handler.ErrLeaseLost    // another consumer has the message
	ErrLeaseExpired = handler.ErrLeaseExpired // it could not be extended in time
	ErrDraining     = handler.ErrDraining     // the program is ending, and DRAIN_TIMEOUT is over
)
