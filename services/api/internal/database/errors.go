// Package database owns the ways to PostgreSQL and the knowledge of whether it can be reached: how connections are made,
// what an error means, and the [Monitor] that tells the rest of the program to go on or to answer 503.
//
// It must never end the process because the database is away, and never decide what an HTTP answer looks like.
package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
)

// Kind is what an error from PostgreSQL, or from the way to it, means to the caller.
type Kind int

// The kinds of errors.
const (
	// OK: there is no error.
	OK Kind = iota
	// Lost: the connection is gone, and with it the knowledge of what became of the statement.
	Lost
	// Unavailable: the server refused for now and nothing was done. It may work later.
	Unavailable
	// Unready: the schema, or the right to use it, is not there (yet). Nothing was done.
	Unready
	// Conflict: another transaction was in the way and nothing was done. It may well work at once.
	Conflict
	// Stale: what the connection had prepared is not there any more, or not what it was. Nothing was done, and a new connection may
	// well do.
	Stale
	// Duplicate: a unique constraint was violated and nothing was done.
	Duplicate
	// Refused: a value, a constraint or a rule that somebody wrote is against it. Nothing was done.
	Refused
	// Fault: anything else, which is ours.
	Fault
)

// String is the kind in a word, for metrics and traces.
func (k Kind) String() string {
	return [...]string{
		OK: "ok", Lost: "connection_lost", Unavailable: "unavailable", Unready: "unready", Conflict: "conflict", Stale: "stale_statement",
		Duplicate: "duplicate_key", Refused: "refused", Fault: "fault",
	}[k]
}

// ErrLost is a connection found closed before the outcome of its statement was confirmed.
var ErrLost = errors.New("connection lost before the outcome was confirmed")

// ErrUnreplicated is a commit of which the server says that no standby has it, although commits are to wait for one: it is lost with
// the server.
var ErrUnreplicated = errors.New("committed locally; no synchronous standby has confirmed (synchronous_standby_names)")

// Unreplicated tells whether a notice says that a commit does not wait for its standby any more, because somebody cancelled that: it is
// reported as a success all the same. The SQLSTATE is that of any warning and the text is in the server's language; the function's name
// says it.
func Unreplicated(n *pgconn.Notice) bool { return n.Routine == "SyncRepWaitForLSN" }

// transactionTimeout is PostgreSQL 17's, which pgerrcode does not have yet.
const transactionTimeout = "25P04"

// ServerError is the server's part of an error; nil when it has none.
func ServerError(err error) *pgconn.PgError {
	var pgErr *pgconn.PgError
	errors.As(err, &pgErr)
	return pgErr
}

// Classify tells what err means for a statement that was sent. [Reason] has the words for it.
func Classify(err error) Kind {
	if err == nil {
		return OK
	}
	if connect := (*pgconn.ConnectError)(nil); errors.As(err, &connect) {
		return Unavailable // whatever the server said, no statement was sent
	}
	pgErr := ServerError(err)
	if pgErr == nil {
		return classifyConnection(err)
	}
	if postgres.EndsSession(pgErr) { // whatever the code
		return Lost
	}
	switch pgErr.Code {
	case pgerrcode.UniqueViolation:
		return Duplicate
	case pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected:
		return Conflict
	case pgerrcode.InvalidSQLStatementName, pgerrcode.DuplicatePreparedStatement,
		pgerrcode.FeatureNotSupported: // "cached plan must not change result type"
		return Stale
	case pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.IdleSessionTimeout, pgerrcode.IdleInTransactionSessionTimeout, transactionTimeout:
		return Lost // whatever a pooler makes of their severity
	case pgerrcode.QueryCanceled, pgerrcode.LockNotAvailable: // statement_timeout, lock_timeout
		return Unavailable
	case pgerrcode.ReadOnlySQLTransaction: // a standby, until it is promoted
		return Unavailable
	case pgerrcode.UndefinedTable, pgerrcode.UndefinedFunction, pgerrcode.InvalidSchemaName, pgerrcode.UndefinedColumn: // not migrated (yet)
		return Unready
	case pgerrcode.InsufficientPrivilege: // until somebody grants it
		return Unready
	}
	// By class, and not by the codes that pgerrcode lists: a trigger may raise any.
	switch postgres.Class(pgErr.Code) {
	case "08": // connection exception
		return Lost
	case "22", "23", "P0": // data exception, integrity constraint violation, a rule that somebody wrote as RAISE EXCEPTION
		return Refused
	case "28", "3D", "53", "57", "58": // authorisation, no such database, resources, operator intervention, system error
		return Unavailable
	}
	return Fault
}

func classifyConnection(err error) Kind {
	var network net.Error
	switch {
	case pgconn.SafeToRetry(err), strings.Contains(err.Error(), "closed pool"):
		return Unavailable // nothing was sent
	case errors.Is(err, ErrLost), errors.Is(err, ErrUnreplicated), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Lost
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &network), pgconn.Timeout(err):
		return Lost
	case strings.Contains(err.Error(), "conn closed"), strings.Contains(err.Error(), "unexpected EOF"):
		return Lost
	}
	return Fault
}

// TimedOut tells whether the server was there and something took longer than it may: the statement, or waiting for a lock.
func TimedOut(err error) bool {
	pgErr := ServerError(err)
	return pgErr != nil && (pgErr.Code == pgerrcode.QueryCanceled || pgErr.Code == pgerrcode.LockNotAvailable)
}

// Untranslatable tells whether a statement had text that the database's encoding does not have, or its answer text that UTF-8 does not have.
func Untranslatable(err error) bool {
	pgErr := ServerError(err)
	return pgErr != nil && pgErr.Code == pgerrcode.UntranslatableCharacter
}

// Away tells whether err means that the database cannot be used for now: what is to be answered with 503.
func Away(err error) bool {
	switch Classify(err) {
	case Lost, Unavailable, Unready, Conflict, Stale:
		return true
	default:
		return false
	}
}

// Incomplete begins the error that a statement of ours raises when it did not do all that it should have: a trigger that returns
// null, for instance, holds rows back without a word.
const Incomplete = "orderflow: incomplete"

const (
	away     = "database is away" // nothing is heard of it
	readOnly = postgres.ReadOnly
)

// Reason says in a few words why the database does not do what it is asked to, for the person who runs the service. It quotes nothing of
// the server's text, which may show data.
func Reason(err error) string {
	if refusal := postgres.Refusal(err); refusal != "" {
		return refusal
	}
	pgErr := ServerError(err)
	switch {
	case pgErr != nil:
	case errors.Is(err, ErrUnreplicated):
		return "database waits for a synchronous standby, and none confirms what is committed (synchronous_standby_names)"
	default:
		return cmp.Or(postgres.NoWriter(err), away)
	}
	switch pgErr.Code {
	case pgerrcode.ReadOnlySQLTransaction:
		return readOnly
	case pgerrcode.InvalidSQLStatementName, pgerrcode.DuplicatePreparedStatement:
		return "prepared statements do not last: there is a connection pool in between that is not recognised; " +
			"if it is in transaction mode, say so with pgbouncer=true in DATABASE_URL"
	case pgerrcode.InsufficientPrivilege:
		if pgErr.Routine == "check_enable_rls" { // the only sign that does not depend on the server's language
			return "row-level security applies to the role: exempt it (bypassrls), or disable it on the table"
		}
		return "the role lacks a privilege: run api migrate with API_DB_ROLE set to it"
	case pgerrcode.UndefinedTable, pgerrcode.UndefinedFunction, pgerrcode.InvalidSchemaName, pgerrcode.UndefinedColumn:
		return "the schema is not complete: api migrate makes it"
	case pgerrcode.DiskFull:
		return "database's disk is full"
	case pgerrcode.OutOfMemory:
		return "database is out of memory"
	case pgerrcode.TooManyConnections:
		return "database has no connection left"
	case pgerrcode.QueryCanceled:
		return "database does not finish in time"
	case pgerrcode.LockNotAvailable:
		return "waited too long for a lock: see pg_blocking_pids"
	case pgerrcode.CannotConnectNow:
		return "database is starting up or shutting down"
	case pgerrcode.UniqueViolation:
		return "a sequence is behind its table: api migrate corrects it"
	}
	if strings.Contains(pgErr.Message, Incomplete) {
		return "fewer rows, or others, were written than sent: consumer doctor lists the triggers"
	}
	return fmt.Sprintf("database refuses with SQLSTATE %s, the log says why", pgErr.Code)
}
