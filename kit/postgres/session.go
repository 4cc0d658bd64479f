package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// session makes what sets up every session, whatever it is for, in one round trip: what the address says, and row_security = off. With the
// latter, a row-level security policy that would hide rows from a statement, or keep it from writing them, is an error; otherwise the
// statement would match nothing and look like success.
//
// They are statements and not parameters of the connection's start, because poolers refuse those that they do not know.
func session(settings map[string]string, timeout time.Duration) func(context.Context, *pgconn.PgConn) error {
	all := maps.Clone(settings)
	all["row_security"] = "off"
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		// A server that stops answering right after the handshake must not hold up the caller.
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		settings := all
		if conn.ParameterStatus("server_encoding") == "SQL_ASCII" {
			// Such a database holds bytes. As UTF-8 they would be checked when they are read, and what others wrote in another encoding
			// would fail every statement that comes upon it.
			settings = maps.Clone(all)
			settings["client_encoding"] = "SQL_ASCII"
		}
		var (
			calls []string
			args  [][]byte
		)
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			args = append(args, []byte(name), []byte(settings[name]))
			calls = append(calls, fmt.Sprintf("pg_catalog.set_config($%d, $%d, false)", len(args)-1, len(args)))
		}
		if _, err := conn.ExecParams(ctx, "select "+strings.Join(calls, ", "), args, nil, nil, nil).Close(); err != nil {
			return fmt.Errorf("set up session: %w", err)
		}
		return nil
	}
}
