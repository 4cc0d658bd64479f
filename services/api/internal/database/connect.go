package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/kit/postgres"
)

// Connect opens one connection with the settings of session. It is for the parts that own a connection. Each of the hosts in cfg
// has its ConnectTimeout, so ctx should have no deadline of its own: a first host that is silent would use it up.
func Connect(ctx context.Context, cfg *pgx.ConnConfig, session Session) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	// A server that stops answering right after the handshake must not hold up the caller.
	limited, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := session.Apply(limited, conn); err != nil {
		Discard(conn)
		return nil, err
	}
	return conn, nil
}

// Discard closes a connection without waiting for the other side, which may be gone or hung.
func Discard(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx) // nothing depends on how it ends
}

// NewPool makes a pool for statements that read. It connects as needed: it can be made while the database is away.
func NewPool(ctx context.Context, cfg *pgx.ConnConfig, connections int, session Session) (*pgxpool.Pool, error) {
	poolCfg, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	poolCfg.ConnConfig = cfg.Copy()
	poolCfg.MaxConns = int32(connections) //nolint:gosec // bounded by the configuration's check
	poolCfg.MinConns = 0
	poolCfg.MaxConnIdleTime = time.Minute
	poolCfg.AfterConnect = session.Apply
	pool, err := pgxpool.NewWithConfig(ctx, poolCfg)
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	return pool, nil
}

// Session are settings of a session for what it is there to do.
type Session = postgres.Settings

// Timeouts are the settings that keep a session from waiting or holding locks for longer than a request does.
// statement is the longest that a statement may take.
func Timeouts(statement time.Duration) Session {
	return postgres.Timeouts(statement, statement*2/3, 10*time.Second)
}

// Replicating returns what tells whether a session of this role waits for a synchronous standby. Where that cannot be found out, it does not.
func Replicating(pool *pgxpool.Pool) func(ctx context.Context, pid uint32) bool {
	return func(ctx context.Context, pid uint32) (waits bool) {
		const ask = `select coalesce(bool_or(wait_event = 'SyncRep'), false) from pg_catalog.pg_stat_activity where pid = $1`
		return pool.QueryRow(ctx, ask, pid).Scan(&waits) == nil && waits
	}
}
