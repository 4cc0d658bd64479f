package orders

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/api/internal/database"
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

// unavailable is [ErrUnavailable] with what an error of the database's, or of the way to it, means.
func unavailable(err error) error { return because(ErrUnavailable, database.Reason(err)) }

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

// verdict is what to do with units whose transaction failed.
type verdict int

const (
	tryAgain  verdict = iota // nothing was written, and the next try may well work
	tryAfresh                // likewise, on a new connection
	split                    // nothing was written, and one of them is at fault: which, their halves tell
	refuse                   // nothing was written, nor will be: it is the order's own fault
	examine                  // nothing was written, and the error does not say whether that is the fault of one of them
	giveUp                   // nothing was written, for now, whatever the orders
	doubt                    // it is not known whether anything was written
)

const (
	// maxTries bounds how often one transaction is tried; its halves are others. Another replica that wrote the same key first costs one
	// more try, and so does a deadlock or a lost connection.
	maxTries = 3
	// maxDraws bounds it where ids have been taken before, because their sequence is behind: each try draws later ones.
	maxDraws = 100
)

// judge decides by a transaction's error, its number (the first is 1) and how many units it had. An error that it does not know is taken for
// the database's fault and not for an order's, because clients give up orders that are refused.
func judge(err error, try, units int) verdict {
	upTo := func(most int, then verdict) verdict {
		if try < most {
			return then
		}
		return examine
	}
	if breaksRule(err) || isUnfit(err) {
		if units > 1 {
			return split
		}
		return refuse
	}
	switch kind := database.Classify(err); {
	case pgconn.SafeToRetry(err) && try < maxTries:
		return tryAgain
	case pgconn.SafeToRetry(err), kind == database.Unavailable:
		return giveUp
	case kind == database.Duplicate:
		switch keyColumns(err) {
		case "idempotency_key":
			return upTo(maxTries, tryAgain) // somebody has written it meanwhile: now it is found
		case "id", "msg_id", "message_id":
			return upTo(maxDraws, tryAgain)
		}
		return examine
	case kind == database.Conflict:
		return upTo(maxTries, tryAgain)
	case kind == database.Stale:
		return upTo(maxTries, tryAfresh)
	case kind == database.Lost, database.ServerError(err) == nil:
		return doubt
	}
	return examine
}

// breaksRule tells whether an order is refused by a rule about orders: a constraint of their table that is about what was ordered,
// or an error of a trigger that names one. Table, kind and columns say so and not names: REINDEX CONCURRENTLY changes those for a
// while.
func breaksRule(err error) bool {
	pgErr := database.ServerError(err)
	if pgErr == nil || pgErr.SchemaName != "public" || pgErr.TableName != "orders" || pgErr.ConstraintName == "" {
		return false
	}
	switch pgErr.Code {
	case pgerrcode.ForeignKeyViolation, pgerrcode.CheckViolation, pgerrcode.ExclusionViolation:
		return true
	case pgerrcode.UniqueViolation:
		switch keyColumns(err) {
		case "", "id", "message_id", "idempotency_key": // these are ours
			return false
		}
		return true
	}
	return false
}

// isUnfit tells whether a value cannot be held by the database: by its encoding, or because somebody has shortened a column.
func isUnfit(err error) bool {
	pgErr := database.ServerError(err)
	if pgErr == nil {
		return false
	}
	switch pgErr.Code {
	case pgerrcode.UntranslatableCharacter, pgerrcode.CharacterNotInRepertoire, pgerrcode.StringDataRightTruncationDataException:
		return true
	}
	return false
}

// keys finds the columns in a unique violation's detail, which has this part in all languages: Key (id)=(7) already exists.
var keys = regexp.MustCompile(`\((.*?)\)=\(`)

// keyColumns are the columns, or expressions, of the unique index that an error is about; empty when it does not say.
func keyColumns(err error) string {
	pgErr := database.ServerError(err)
	if pgErr == nil {
		return ""
	}
	if found := keys.FindStringSubmatch(pgErr.Detail); found != nil {
		return found[1]
	}
	return ""
}
