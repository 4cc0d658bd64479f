// Package handler owns what is done with an order: the interface, the errors with which a handler steers its retry, and the
// built-in handlers. It must never touch the queue or the database: the effect on the order is written by the worker, together
// with the end of the lease.
package handler

import (
	"context"
	"errors"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// Handler processes one order. nil means done. An error means another attempt after a backoff, unless it was made with
// Permanent or RetryAfter. A message can be handled more than once, when a worker dies or its lease is lost in between:
// what a handler does outside the database must bear that (Message.OrderID is a good idempotency key).
//
// Handle must end soon after ctx does. context.Cause(ctx) says why: ErrTimeout, ErrLeaseLost, ErrLeaseExpired or
// ErrDraining. One that goes on regardless keeps its worker's slot until it returns.
type Handler interface {
	Handle(ctx context.Context, m message.Message) error
}

// Why a handler's context ended.
var (
	ErrTimeout      = errors.New("handler deadline exceeded (HANDLER_TIMEOUT)")
	ErrLeaseLost    = errors.New("lease lost: another consumer has the message")
	ErrLeaseExpired = errors.New("lease expired: it could not be extended in time")
	ErrDraining     = errors.New("consumer is shutting down (DRAIN_TIMEOUT is over)")
)

type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// Permanent marks an error that no retry can mend: the message becomes a dead letter at once. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent says whether err was marked with Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

type retryAfterError struct {
	error
	after time.Duration
}

func (r retryAfterError) Unwrap() error { return r.error }

// RetryAfter marks an error after which the next attempt is to come after d, instead of after the backoff. nil stays nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, max(d, 0)}
}

// After returns the delay that err asks for, if it does.
func After(err error) (d time.Duration, asked bool) {
	var r retryAfterError
	if errors.As(err, &r) {
		return r.after, true
	}
	return 0, false
}
