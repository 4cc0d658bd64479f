// Package effect owns what is done in the transaction of an ack on behalf of whoever uses the consumer: a function of theirs in the
// database, or the statements that a handler of theirs has left. It says what their failures mean, too.
//
// It must never begin or end a transaction, never know how leases are checked, and never take a failure of the server for one of an
// order.
package effect

import (
	"context"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// Order is one whose message the open transaction has acknowledged.
type Order struct {
	ID   int64
	Work any // what the handler has left for it, as the Runner takes it
}

// Runner does the work of orders.
type Runner interface {
	// Prepare finds out whether Run can do its work, outside of a transaction. An *UnfitError says what somebody has to do first.
	Prepare(ctx context.Context, conn *pgx.Conn) error
	// Run does it, in the transaction that is open. A *FailedError is about its orders; of other errors Judge says what they are about.
	Run(ctx context.Context, conn *pgx.Conn, orders []Order) error
}

// Handler is a handler.Handler that leaves work to be done in the transaction of the ack.
type Handler interface {
	handler.Handler
	// HandleForAck is called instead of Handle, on the same terms. No work (nil) makes an ack like any other.
	HandleForAck(ctx context.Context, m message.Message) (work any, err error)
	// Runner does the work.
	Runner() Runner
}

// UnfitError is why no order's work can be done. It lasts until somebody does something about it; no order is at fault.
type UnfitError struct{ Why string }

func (e *UnfitError) Error() string { return e.Why }

// FailedError is the failure of orders' work.
type FailedError struct {
	At  int // in the orders that Run was given; less than 0: some of them
	Err error
}

const unknown = -1

func (e *FailedError) Error() string { return e.Err.Error() }

// Unwrap returns the failure.
func (e *FailedError) Unwrap() error { return e.Err }
