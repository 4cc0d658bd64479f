package schema

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/wait"
)

// lockKey names the advisory lock of this database's migrations: "orderflw" in ASCII. Advisory locks are per database.
const lockKey = 0x6f72646572666c77

// LockPatience is how long a migration waits for a lock. Who comes later queues behind it, those who write orders too, so it gives up soon, and
// the caller of Migrate tries again when they have had their turn. It is above deadlock_timeout (1 s), after which a vacuum makes room.
const LockPatience = 3 * time.Second

// sessionSettings are for a connection that changes the schema: never ended by a timeout that is meant for the services'
// short statements.
var sessionSettings = postgres.Settings{
	"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": strconv.FormatInt(LockPatience.Milliseconds(), 10),
}

// sessionConfig is cfg with these settings. They are statements and not parameters of the connection's start, which
// poolers refuse. What a migration has to say (raise warning) goes to the log.
func sessionConfig(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) *pgx.ConnConfig {
	cfg = cfg.Copy()
	cfg.RuntimeParams["application_name"] = "orderflow-migrate"
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			log.WarnContext(ctx, n.Message)
		}
	}
	others := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if others != nil {
			if err := others(ctx, conn); err != nil {
				return err
			}
		}
		return postgres.Set(ctx, conn, sessionSettings)
	}
	return cfg
}

// lock takes the migrations' advisory lock and returns what gives it back. A transaction on a connection of its own holds it, and not a
// session: through a pooler in transaction mode only a transaction stays where it is, and a session's lock would be left with whoever comes
// next. Nothing else is done in it, so it keeps no snapshot, and CREATE INDEX CONCURRENTLY does not wait for it. It polls instead of
// waiting in the server, so that a waiting replica ends at once with its context.
func lock(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) (unlock func(), err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to take the migration lock: %w", err)
	}
	pauses, said := wait.Pauses{First: 20 * time.Millisecond, Longest: time.Second}, false
	for {
		taken, err := tryLock(ctx, conn)
		if taken {
			return func() { closeConn(ctx, conn) }, nil
		}
		if err == nil && !said {
			said = true
			log.InfoContext(ctx, "another process is migrating, waiting for it")
		}
		if err == nil && !wait.For(ctx, pauses.Next()) {
			err = fmt.Errorf("wait for the migration lock: %w", ctx.Err())
		}
		if err != nil {
			closeConn(ctx, conn)
			return nil, err
		}
	}
}

// tryLock leaves a transaction open when it has taken the lock, and none when it has not.
func tryLock(ctx context.Context, conn *pgx.Conn) (taken bool, err error) {
	if _, err := conn.Exec(ctx, `begin isolation level read committed`); err != nil {
		return false, fmt.Errorf("take the migration lock: %w", err)
	}
	if err := conn.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(lockKey)).Scan(&taken); err != nil {
		return false, fmt.Errorf("take the migration lock: %w", err)
	}
	if taken {
		return true, nil
	}
	if _, err := conn.Exec(ctx, `rollback`); err != nil {
		return false, fmt.Errorf("take the migration lock: %w", err)
	}
	return false, nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // what was done is committed; nothing can be lost with the connection
}
