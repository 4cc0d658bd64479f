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
// Permanent, RetryAfter or NotBefore. A message can be handled more than once, when a worker dies or its lease is lost in between:
// what a handler does outside the database must bear that (Message.OrderKey is the idempotency key).
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

// delayError says when the next attempt is to come: after a time, or after that and the backoff.
type delayError struct {
	error
	after   time.Duration
	backoff bool
}

func (d delayError) Unwrap() error { return d.error }

// RetryAfter marks an error after which the next attempt is to come after d, instead of after the backoff. nil stays nil.
func RetryAfter(d time.Duration, err error) error { return delayed(err, d, false) }

// NotBefore marks an error after which the next attempt must not come before d is over. The backoff comes on top: whoever says so
// says it to everybody, and means the least. nil stays nil.
func NotBefore(d time.Duration, err error) error { return delayed(err, d, true) }

func delayed(err error, after time.Duration, backoff bool) error {
	if err == nil {
		return nil
	}
	return delayError{err, max(after, 0), backoff}
}

// Delay returns how long to wait after err where the backoff alone would be backoff.
func Delay(err error, backoff time.Duration) time.Duration {
	var d delayError
	switch {
	case !errors.As(err, &d):
		return backoff
	case d.backoff:
		return d.after + backoff
	}
	return d.after
}
