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
	var (
		calls []string
		args  [][]byte
	)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, []byte(name), []byte(all[name]))
		calls = append(calls, fmt.Sprintf("pg_catalog.set_config($%d, $%d, false)", len(args)-1, len(args)))
	}
	statement := "select " + strings.Join(calls, ", ")
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		// A server that stops answering right after the handshake must not hold up the caller.
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if _, err := conn.ExecParams(ctx, statement, args, nil, nil, nil).Close(); err != nil {
			return fmt.Errorf("set up session: %w", err)
		}
		return nil
	}
}
