// Package schema owns everything in the database that is not a row: PGMQ, the orders table, the queue and its dead
// letters, the functions and the roles. It is the only place that runs DDL, and everything in it can run again over its
// own result, from any number of replicas at once.
//
// It must never touch a PGMQ that it did not install, drop or rewrite what holds somebody's messages or orders, or log a
// password.
package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// Version is the migration that this build needs: the number of the newest one in migrations. A service is ready when
// Current is at least that; a newer schema is fine, because migrations stay compatible with the release before them.
const Version = 18

// Options say what Migrate shall bring about besides the migrations themselves.
type Options struct {
	// Queue is the name of the queue; "_dlq" appended names that of its dead letters. See ValidateQueueName.
	Queue string
	// PGMQ says how PGMQ is installed in a database that has none. The zero value is InstallAuto.
	PGMQ Install
	// AllowUnlogged takes a queue whose tables are unlogged. Otherwise it is refused, with ErrUnlogged.
	AllowUnlogged bool
	// Roles are created, given their passwords, timeouts and rights, unless the schema is newer than this build. Those
	// without a name are left out.
	Roles Roles
}

// Migrate brings a database to this build's schema: PGMQ, migrations, queue and roles. It returns when all of it is in
// place, whoever put it there: when several processes start at once, one works and the others wait for it.
//
// It takes three connections at most, also of a pooler in between, whatever its mode.
func Migrate(ctx context.Context, cfg *pgx.ConnConfig, opts Options, log *slog.Logger) error {
	if err := opts.Validate(cfg.User); err != nil {
		return err
	}

	cfg = sessionConfig(ctx, cfg, log)
	unlock, err := lock(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer closeConn(ctx, conn)

	if err := applyMigrations(ctx, cfg, opts, log); err != nil {
		return err
	}
	if err := upgradePGMQ(ctx, conn, log); err != nil {
		return err
	}
	if err := ensureFront(ctx, conn, opts.Queue, log); err != nil { // before the queue: consumers begin as soon as that is there
		return err
	}
	if err := EnsureQueue(ctx, conn, opts.Queue, log); err != nil {
		return err
	}
	if !opts.AllowUnlogged {
		if err := refuseUnlogged(ctx, conn, opts.Queue); err != nil {
			return err
		}
	}
	if err := bringSequencesUp(ctx, conn, opts.Queue, log); err != nil {
		return err
	}
	if err := noteRestored(ctx, conn, log); err != nil {
		return err
	}

	// A newer release may have given its roles rights that this build does not know of, and would take away from its pods
	// while they serve: an old pod that starts late, or a rollback, leaves the roles as they are.
	current, err := Current(ctx, conn)
	if err != nil {
		return err
	}
	if current > Version {
		log.InfoContext(ctx, "the schema is newer than this build: the roles and their rights stay as they are", "schema", current, "build", Version)
		return nil
	}
	return againstOthers(ctx, func() error { return ensureRoles(ctx, conn, opts, log) })
}

// Validate tells everything that is wrong with the options, nil when nothing is. migrator is the role that migrates.
func (o Options) Validate(migrator string) error {
	return errors.Join(ValidateQueueName(o.Queue), o.PGMQ.validate(), o.Roles.validate(migrator))
}

// querier is what Current needs: a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Current returns the version of the database's schema: the newest applied migration, 0 when there is none.
func Current(ctx context.Context, db querier) (int64, error) {
	// Asked first, because a missing table is an ordinary answer here and must not be an error in the server's log.
	var migrated bool
	if err := db.QueryRow(ctx, `select to_regclass('`+versionTable+`') is not null`).Scan(&migrated); err != nil {
		return 0, fmt.Errorf("look for the schema version: %w", err)
	}
	if !migrated {
		return 0, nil
	}

	var version int64
	err := db.QueryRow(ctx, `select coalesce(max(version_id), 0) from `+versionTable+` where is_applied`).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the schema version: %w", err)
	}
	return version, nil
}
