// Package handler owns what is done with an order: the interface, the errors with which a handler says what its failure means, and the
// built-in handlers. It must never touch the queue or the database: the effect on the order is written by the settler, together
// with the end of the lease.
package handler

import (
	"context"
	"errors"

	"orderflow.example/services/consumer/internal/message"
)

// Handler processes one order. nil means done. An error means another attempt after a backoff, unless it says otherwise: with
// Permanent, RetryAfter, NotBefore, Unavailable or Throttled. A message can be handled more than once, when a worker dies or its lease is
// lost in between: what a handler does outside the database must bear that (Message.OrderKey is the idempotency key).
//
// Handle must end soon after ctx does. context.Cause(ctx) says why: ErrTimeout, ErrLeaseLost, ErrLeaseExpired or
// ErrDraining. One that goes on regardless keeps its worker until it returns.
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
