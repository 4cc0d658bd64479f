package database

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
)

// Incomplete begins the error that a statement of ours raises when it did not do all that it should have: a trigger that returns
// null, for instance, holds rows back without a word.
const Incomplete = "orderflow: incomplete"

const (
	away     = "database is away" // nothing is heard of it
	readOnly = "database is read-only: a standby, or set to be (default_transaction_read_only)"
)

// Reason says in a few words why the database does not do what it is asked to, for whoever runs the service. It has nothing of the
// server's own text, which may quote data.
func Reason(err error) string {
	if refusal := postgres.Refusal(err); refusal != "" {
		return refusal
	}
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
	case errors.Is(err, pgconn.ErrReadOnlyConnection): // none of the hosts takes writes
		return readOnly
	default:
		return away
	}
	switch pgErr.Code {
	case "25006": // read_only_sql_transaction
		return readOnly
	case "26000", "42P05": // invalid_sql_statement_name, duplicate_prepared_statement
		return "prepared statements do not last: there is a connection pool in transaction mode in between; connect to PostgreSQL itself, or through a pool in session mode"
	case "42501": // insufficient_privilege
		if pgErr.Routine == "check_enable_rls" { // the only sign that does not depend on the server's language
			return "row-level security applies to the role: exempt it (bypassrls), or disable it on the table"
		}
		return "the role lacks a right: api migrate gives it"
	case "42P01", "42883", "3F000", "42703": // undefined table, function, schema, column
		return "the schema is not complete: api migrate makes it"
	case "53100": // disk_full
		return "database's disk is full"
	case "53200": // out_of_memory
		return "database is out of memory"
	case "53300": // too_many_connections
		return "database has no connection left"
	case "57014": // query_canceled
		return "database does not finish in time"
	case "55P03": // lock_not_available
		return "somebody holds a lock"
	case "57P03": // cannot_connect_now
		return "database is starting up or shutting down"
	case "23505": // unique_violation
		return "a sequence is behind its table: api migrate corrects it"
	}
	if strings.Contains(pgErr.Message, Incomplete) {
		return "some rows are held back, perhaps by a trigger"
	}
	return fmt.Sprintf("database refuses with SQLSTATE %s, the log says why", pgErr.Code)
}
