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

// Sharing is how a session is to be set where statements of others share a transaction with ours.
type Sharing struct {
	Ours   postgres.Settings // for our statements: what they rely on
	Theirs postgres.Settings // for others': what they would find without us, and how long they may take, waiting for locks included
	After  postgres.Settings // when the transaction is over: as we leave the session for ourselves, or for whoever gets it next
}

// Share finds that out. limit is the longest that a statement of others may take. To be asked for when the session is new.
func Share(ctx context.Context, conn *pgx.Conn, limit time.Duration) (Sharing, error) {
	s := Sharing{Ours: limits.With(planning), Theirs: postgres.Timeouts(limit, 0, limit)}
	path, err := postgres.Setting(ctx, conn, "search_path")
	if err != nil {
		return Sharing{}, err
	}
	s.Ours["search_path"], s.Theirs["search_path"] = path, path
	defaults := make(postgres.Settings)
	rows, err := conn.Query(ctx, `select name, reset_val from pg_catalog.pg_settings where name = any ($1)`,
		append(slices.Collect(maps.Keys(s.Ours)), "TimeZone"))
	if err != nil {
		return Sharing{}, fmt.Errorf("read the session's defaults: %w", err)
	}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		defaults[name] = value
		return nil
	}); err != nil {
		return Sharing{}, fmt.Errorf("read the session's defaults: %w", err)
	}
	for name, value := range defaults {
		if _, ours := s.Theirs[name]; !ours {
			s.Theirs[name] = value
		}
	}
	if s.After = s.Ours; postgres.Transactional(conn) {
		delete(defaults, "TimeZone") // the pooler sees to it
		s.After = defaults
	}
	return s, nil
}

// NoticeLoss makes the server notice soon that we have given a statement up: while it does not, it holds what the statement has locked.
func NoticeLoss(ctx context.Context, conn *pgx.Conn) error {
	return postgres.Settings{"client_connection_check_interval": "500"}.Apply(ctx, conn)
}
