package schema

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// lockKey names the advisory lock of this database's migrations: "orderflw" in ASCII. Advisory locks are per database.
const lockKey = 0x6f72646572666c77

// sessionSettings are for a connection that changes the schema: never ended by a timeout that is meant for the services'
// short statements, and giving up on a lock instead of holding up everybody who queues behind it. The caller of Migrate
// tries again.
const sessionSettings = `
	set statement_timeout = 0;
	set idle_in_transaction_session_timeout = 0;
	set lock_timeout = '10s';
	set application_name = 'orderflow-migrate'`

// sessionConfig is cfg with these settings. They are statements and not parameters of the connection's start, which
// poolers refuse. What a migration has to say (raise warning) goes to the log.
func sessionConfig(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) *pgx.ConnConfig {
	cfg = cfg.Copy()
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
		_, err := conn.Exec(ctx, sessionSettings).ReadAll()
		return err
	}
	return cfg
}

// lock takes the migrations' advisory lock for conn's session and returns what gives it back. It polls instead of
// waiting in the server, so that a waiting replica holds no snapshot and ends at once with its context.
func lock(ctx context.Context, conn *pgx.Conn, log *slog.Logger) (unlock func(), err error) {
	const shortest, longest = 20 * time.Millisecond, time.Second

	for pause := shortest; ; pause = min(2*pause, longest) {
		var taken bool
		if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, int64(lockKey)).Scan(&taken); err != nil {
			return nil, fmt.Errorf("take the migration lock: %w", err)
		}
		if taken {
			break
		}
		if pause == shortest {
			log.InfoContext(ctx, "another process is migrating, waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the migration lock: %w", ctx.Err())
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}

	return func() {
		// The end of the session gives the lock back too; this is for those who go on using the connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, `select pg_advisory_unlock($1)`, int64(lockKey)); err != nil && !conn.IsClosed() {
			log.WarnContext(ctx, "the migration lock was not given back", "error", err)
		}
	}, nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // what was done is committed; nothing can be lost with the connection
}
