package database

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
)

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
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
	case errors.Is(err, ErrUnreplicated):
		return "database waits for a synchronous standby, and none confirms what is committed (synchronous_standby_names)"
	default:
		return cmp.Or(postgres.NoWriter(err), away)
	}
	switch pgErr.Code {
	case pgerrcode.ReadOnlySQLTransaction:
		return readOnly
	case pgerrcode.InvalidSQLStatementName, pgerrcode.DuplicatePreparedStatement:
		return "prepared statements do not last: there is a connection pool in between that is not recognised; if it is in transaction mode, say so with pgbouncer=true in DATABASE_URL"
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
