package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/consumer/internal/handler"
)

// SQLSTATEs by which the work says what its failure means. They are named after the HTTP statuses with which a webhook says the same.
const (
	Permanent   = "OF410" // no retry can mend it: the order goes to the dead letters
	RetryAfter  = "OF425" // the next attempt is to come after DETAIL, an interval
	Unavailable = "OF503" // what the work needs is not there; not the order's fault. DETAIL, if any: how long to leave it alone
)

// Fault is whose fault a failure is, and so what can be done about it. Nothing took effect, but with Lost, where that may not be known.
type Fault int

const (
	// Own: an order's. Without the others it is a failed attempt.
	Own Fault = iota
	// Conflict: with another transaction. Once more, later, and no attempt.
	Conflict
	// Overrun: it took longer than one call may. Without others the order may be quick enough.
	Overrun
	// Cancelled by somebody: once more.
	Cancelled
	// Unfit: everybody's alike, until somebody does something.
	Unfit
	// Lost: the connection, or the server with it. Whether the transaction took effect is not known, if it was about to commit.
	Lost
)

// Judge says whose fault an error of a transaction with work in it is. took is how long it ran, limit how long it might.
func Judge(err error, took, limit time.Duration) Fault {
	var unfit *UnfitError
	if errors.As(err, &unfit) {
		return Unfit
	}
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		var failed *FailedError
		if errors.As(err, &failed) {
			return Own // the handler's own look at a result
		}
		return Lost
	}
	switch cmp.Or(answer.SeverityUnlocalized, answer.Severity) { // a pooler has only the latter
	case "FATAL", "PANIC": // the session's end, whatever the code
		return Lost
	}
	switch code := answer.Code; {
	case code == pgerrcode.SerializationFailure, code == pgerrcode.DeadlockDetected, code == pgerrcode.LockNotAvailable:
		return Conflict
	case code == pgerrcode.QueryCanceled && took >= limit*9/10:
		return Overrun
	case code == pgerrcode.QueryCanceled:
		return Cancelled
	}
	return Own
}

// blameless are the classes of errors that say more about the server, or about how the work is written, than about an order: whoever
// mends them wants the order to be tried again. See https://www.postgresql.org/docs/current/errcodes-appendix.html.
var blameless = map[string]bool{
	"08": true, // connection exception: of a function that connects to somewhere
	"0A": true, // feature not supported: a write in a function that is declared STABLE
	"25": true, // invalid transaction state: a read-only server, for one
	"26": true, // invalid SQL statement name: of a function that has taken our prepared statements away
	"28": true, // invalid authorization
	"3D": true, // invalid catalog name
	"3F": true, // invalid schema name
	"42": true, // syntax error or access rule violation: a table or a right that is missing
	"53": true, // insufficient resources
	"55": true, // object not in the state that it has to be in
	"57": true, // operator intervention
	"58": true, // system error
	"F0": true, // configuration file error
	"XX": true, // internal error
}

// Failure is an order's failed work as a handler's error: what it means is said by its SQLSTATE. conn, whose transaction is over, reads
// the interval of a DETAIL.
func Failure(ctx context.Context, conn *pgx.Conn, err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		var failed *FailedError
		if errors.As(err, &failed) {
			return failed.Err
		}
		return err
	}
	told := fmt.Errorf("%s (SQLSTATE %s)", answer.Message, answer.Code)
	switch {
	case answer.Code == Permanent:
		return handler.Permanent(told)
	case answer.Code == RetryAfter:
		if after, ok := interval(ctx, conn, answer.Detail); ok {
			return handler.RetryAfter(after, told)
		}
	case answer.Code == Unavailable:
		if after, ok := interval(ctx, conn, answer.Detail); ok {
			return handler.Throttled(after, told)
		}
		return handler.Unavailable(told)
	case blameless[postgres.Class(answer.Code)]:
		return handler.Unavailable(told)
	}
	return told
}

// longest is what a delay is at most: more would be a dead letter by another name.
const longest = 24 * time.Hour

// interval reads what Postgres takes for one: '90 seconds', '00:01:30', 'PT90S', '90'.
func interval(ctx context.Context, conn *pgx.Conn, text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	var seconds float64
	err := conn.QueryRow(ctx, `select greatest(least(extract(epoch from $1::text::interval), $2::float8), 0)::float8`, text, longest.Seconds()).Scan(&seconds)
	if err != nil {
		return 0, false // no interval: as if nothing had been said
	}
	return time.Duration(seconds * float64(time.Second)), true
}
