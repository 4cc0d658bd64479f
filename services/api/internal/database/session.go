package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Session are settings of a session, made after connecting: a connection pooler in between refuses what it does not
// know in the startup message.
type Session map[string]string

// always are the settings of every session. Where row-level security applies to the role, a statement fails instead of passing over
// rows: what is not seen would be taken for not being there.
var always = Session{"row_security": "off"}

// Timeouts are the settings that keep a session from waiting or holding locks for longer than a request does.
// statement is the longest that a statement may take.
func Timeouts(statement time.Duration) Session {
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	return Session{
		"statement_timeout":                   ms(statement),
		"lock_timeout":                        ms(statement * 2 / 3),
		"idle_in_transaction_session_timeout": ms(10 * time.Second),
	}
}

// With is s with the settings of others.
func (s Session) With(others Session) Session {
	all := make(Session, len(s)+len(others))
	for _, settings := range []Session{s, others} {
		for name, value := range settings {
			all[name] = value
		}
	}
	return all
}

// apply makes the settings, all of them in one round trip. Where the server refuses one (it does not know it, or somebody has
// forbidden the value), the others are made all the same: without any of them everything works, only less well.
func (s Session) apply(ctx context.Context, conn *pgx.Conn) error {
	if conn.PgConn().ParameterStatus("server_encoding") == "SQL_ASCII" {
		// Such a database holds bytes. As UTF-8 they would be checked when they are read, and what others wrote in another encoding
		// would fail every statement that comes upon it.
		s = s.With(Session{"client_encoding": "SQL_ASCII"})
	}
	err := s.set(ctx, conn)
	if !refused(err, conn) {
		return err
	}
	for name, value := range s {
		if err := (Session{name: value}).set(ctx, conn); err != nil && !refused(err, conn) {
			return err
		}
	}
	return nil
}

func refused(err error, conn *pgx.Conn) bool {
	return errors.As(err, new(*pgconn.PgError)) && !conn.IsClosed()
}

func (s Session) set(ctx context.Context, conn *pgx.Conn) error {
	if len(s) == 0 {
		return nil
	}
	calls := make([]string, 0, len(s))
	args := []any{pgx.QueryExecModeExec}
	for name, value := range s {
		args = append(args, name, value)
		calls = append(calls, fmt.Sprintf("set_config($%d, $%d, false)", len(args)-2, len(args)-1))
	}
	_, err := conn.Exec(ctx, "select "+strings.Join(calls, ", "), args...)
	return err
}
