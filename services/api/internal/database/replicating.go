package database

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Replicating returns what tells whether a session of this role waits for a synchronous standby. Where that cannot be found out, it does not.
func Replicating(pool *pgxpool.Pool) func(ctx context.Context, pid uint32) bool {
	return func(ctx context.Context, pid uint32) (waits bool) {
		const ask = `select coalesce(bool_or(wait_event = 'SyncRep'), false) from pg_catalog.pg_stat_activity where pid = $1`
		return pool.QueryRow(ctx, ask, pid).Scan(&waits) == nil && waits
	}
}
