package pg

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
)

// sessionSettings are what every statement of the consumer relies on.
//
//   - Timeouts: a statement that we gave up on must not go on holding locks at the server (client_connection_check_interval,
//     tcp_user_timeout); a transaction of a fetch whose client is gone must let go of its rows long before a visibility timeout.
//   - Plans: all our joins go from a short array to a primary key. The planner knows neither the array's length nor the
//     table's size: a queue that was empty when it was last vacuumed counts as one row, however many there are by now,
//     and a plan made on an empty table would still be in use when it holds a million. So the scans that read a whole
//     table or a whole index are switched off, and the statements leave no other way in than the primary key: see fetch.sql.
//     JIT would compile those plans because of the penalties that switching scans off adds to their costs.
//   - Isolation: passing over locked rows and checking a lease once more when its row is free are what read committed does.
var sessionSettings = limits.With(planning).With(postgres.Settings{
	"client_connection_check_interval": "2000", "tcp_user_timeout": "6000",
	"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	"default_transaction_isolation": "read committed",
	"TimeZone":                      "UTC",
})

var (
	limits   = postgres.Timeouts(30*time.Second, 500*time.Millisecond, 3*time.Second)
	planning = postgres.Settings{
		"enable_seqscan": "off", "enable_indexonlyscan": "off", "enable_mergejoin": "off", "jit": "off", "plan_cache_mode": "force_generic_plan",
	}
)

// Shared says how a session is to be set where statements of others share a transaction with ours: for ours, what they rely on; for
// theirs, what they would find without us, and limit as the longest that one may take, waiting for locks included. To be asked for when the
// session is new.
func Shared(ctx context.Context, conn *pgx.Conn, limit time.Duration) (ours, theirs postgres.Settings, err error) {
	ours, theirs = limits.With(planning), postgres.Timeouts(limit, 0, limit)
	var path string
	if err := conn.QueryRow(ctx, `select pg_catalog.current_setting('search_path')`).Scan(&path); err != nil {
		return nil, nil, fmt.Errorf("read the session's search_path: %w", err)
	}
	ours["search_path"], theirs["search_path"] = path, path
	rows, err := conn.Query(ctx, `select name, reset_val from pg_catalog.pg_settings where name = any ($1)`,
		append(slices.Collect(maps.Keys(planning)), "TimeZone"))
	if err != nil {
		return nil, nil, fmt.Errorf("read the session's defaults: %w", err)
	}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		theirs[name] = value
		return nil
	}); err != nil {
		return nil, nil, fmt.Errorf("read the session's defaults: %w", err)
	}
	return ours, theirs, nil
}

// NoticeLoss makes the server notice soon that we have given a statement up: while it does not, it holds what the statement has locked.
func NoticeLoss(ctx context.Context, conn *pgx.Conn) error {
	return postgres.Settings{"client_connection_check_interval": "500"}.Apply(ctx, conn)
}
