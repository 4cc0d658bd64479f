package orders

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Why an order was not written, or is not known to have been.
var (
	// ErrUnavailable: the database is away, or does not write orders; nothing was written.
	ErrUnavailable = errors.New("the database is not available")
	// ErrOverloaded: too many orders are waiting; nothing was written.
	ErrOverloaded = errors.New("too many orders are waiting to be written")
	// ErrTimeout: the order's turn did not come in time; it was withdrawn and is not written later either.
	ErrTimeout = errors.New("the order could not be written in time")
	// ErrUnknownOutcome: the order was on its way when the connection or the time ran out. It may have been written. A retry
	// with the same idempotency key finds out.
	ErrUnknownOutcome = errors.New("it is not known whether the order was written")
	// ErrKeyReused: the idempotency key stands for another order.
	ErrKeyReused = errors.New("the idempotency key was used for another order")
	// ErrClosed: the writer is shutting down; nothing was written.
	ErrClosed = errors.New("shutting down")
)

// because is err with the reason, when there is one.
func because(err error, reason string) error {
	if reason == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, reason)
}

// RefusedError is an order that breaks a rule of the database's which this program does not know: a constraint of the orders
// table. Nothing was written.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused by the database: " + e.Reason }

// newRefusedError says which rule. The server's own message is in the server's language and quotes the whole row; what a trigger
// raises is meant to be read.
func newRefusedError(err *pgconn.PgError) *RefusedError {
	if err.Routine == "exec_stmt_raise" {
		return &RefusedError{err.Message}
	}
	return &RefusedError{fmt.Sprintf("it breaks the constraint %q of the table orders", err.ConstraintName)}
}
