package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/pooling"
)

// session makes what sets up every session, whatever it is for, in one round trip: what the address says, and row_security = off. With the
// latter, a row-level security policy that would hide rows from a statement, or keep it from writing them, is an error; otherwise the
// statement would match nothing and look like success.
//
// They are statements and not parameters of the connection's start, because poolers refuse those that they do not know. And they are made
// only where the process that serves the connection is the one that it was made with: where it is not, a pooler is in between, and in
// transaction mode the settings would be found by another client. Those connections become transactional.
func (a Address) session(config *pgconn.Config) func(context.Context, *pgconn.PgConn) error {
	all := maps.Clone(a.settings)
	all["row_security"] = "off"
	bare := config.Copy()
	bare.DialFunc = a.keep.Dial // without the route, which a connection that is only compared must not change
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		// A server that stops answering right after the handshake must not hold up the caller.
		limited, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
		defer cancel()
		settings := all
		if conn.ParameterStatus("server_encoding") == "SQL_ASCII" {
			// Such a database holds bytes. As UTF-8 they would be checked when they are read, and what others wrote in another encoding
			// would fail every statement that comes upon it.
			settings = maps.Clone(all)
			settings["client_encoding"] = "SQL_ASCII"
		}
		if made, err := setDirectly(limited, conn, settings); err != nil || made {
			return err
		}
		// This takes some more round trips.
		ctx, cancelAll := context.WithTimeout(ctx, 3*config.ConnectTimeout)
		defer cancelAll()
		transactional, err := a.pooler.mode(ctx, conn, bare)
		if err != nil {
			return err
		}
		if !transactional {
			return makeSettings(ctx, conn, settings)
		}
		if err := holdsTransactions(ctx, conn); err != nil {
			return err
		}
		if !pooling.Begin(conn) {
			return errors.New("connect through a pooler in transaction mode: the connection was not prepared for it")
		}
		pooling.Set(conn, settings)
		if _, err := conn.Exec(ctx, "select").ReadAll(); err != nil {
			return fmt.Errorf("set up session: %w", err)
		}
		return nil
	}
}

// setDirectly makes settings if there is no pooler in between, which shows in the process: that of the server is the one that it named
// when the connection was made. Poolers name numbers of their own.
func setDirectly(ctx context.Context, conn *pgconn.PgConn, settings map[string]string) (made bool, err error) {
	calls, args := calls(settings)
	args = append(args, []byte(strconv.FormatUint(uint64(conn.PID()), 10)))
	direct := fmt.Sprintf("pg_catalog.pg_backend_pid()::pg_catalog.text = $%d", len(args))
	result := conn.ExecParams(ctx, "select "+direct+", case when "+direct+" then ("+calls+") is not null end", args, nil, nil, nil).Read()
	if result.Err != nil {
		return false, fmt.Errorf("set up session: %w", result.Err)
	}
	return string(result.Rows[0][0]) == "t", nil
}

func makeSettings(ctx context.Context, conn *pgconn.PgConn, settings map[string]string) error {
	calls, args := calls(settings)
	if _, err := conn.ExecParams(ctx, "select "+calls, args, nil, nil, nil).Close(); err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	return nil
}

// calls is a row that makes settings, and its arguments.
func calls(settings map[string]string) (sql string, args [][]byte) {
	var calls []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, []byte(name), []byte(settings[name]))
		calls = append(calls, fmt.Sprintf("pg_catalog.set_config($%d, $%d, false)", len(args)-1, len(args)))
	}
	return "row(" + strings.Join(calls, ", ") + ")", args
}
