package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/wait"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/schema"
)

// migrate brings the schema up to date. It waits for a database that is away, as everything here does; what the database
// refuses otherwise is an error.
func migrate(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	pauses := wait.Pauses{First: 50 * time.Millisecond, Longest: time.Second}
	var outage postgres.Outage
	for {
		err := schema.Migrate(ctx, cfg.Database, options(cfg), log)
		if err == nil {
			log.InfoContext(ctx, "schema is up to date", "version", schema.Version)
			return nil
		}
		if ctx.Err() != nil || !database.Away(err) || database.Classify(err) == database.Unready {
			return fmt.Errorf("migrate: %w", err)
		}
		if outage.News(err) {
			log.WarnContext(ctx, database.Reason(err)+"; retrying", "error", postgres.Brief(err))
		}
		if !wait.For(ctx, cmp.Or(aside(err), pauses.Next())) {
			return ctx.Err()
		}
	}
}

// aside is how long a migration that could not have a lock in time is to wait before it asks again: those who queued behind it, and could not
// write orders meanwhile, have four fifths of the time, however long somebody (a dump, a report) goes on reading. 0 after any other error.
func aside(err error) time.Duration {
	if refused := database.ServerError(err); refused != nil && refused.Code == pgerrcode.LockNotAvailable {
		return 4 * schema.LockPatience
	}
	return 0
}

func options(cfg *config.Config) schema.Options {
	return schema.Options{
		Queue:         cfg.QueueName,
		PGMQ:          schema.Install(cfg.PGMQInstall),
		AllowUnlogged: cfg.UnloggedQueue == "allow",
		Roles:         cfg.Roles(),
	}
}

// prepare makes the monitor's check of a new connection: that the database has the schema this build needs. The first
// time it migrates, when that is wanted.
func prepare(cfg *config.Config, log *slog.Logger) func(context.Context, *pgx.Conn) error {
	m := &migration{cfg: cfg, log: log, now: time.Now, done: !cfg.MigrateOnStart}
	return func(ctx context.Context, conn *pgx.Conn) error {
		if err := m.run(ctx, conn); err != nil {
			return err
		}
		return current(ctx, cfg, conn)
	}
}

// migration is the one at the start of the service, which is tried until it is done.
type migration struct {
	cfg  *config.Config
	log  *slog.Logger
	now  func() time.Time
	done bool

	aside error     // it could not have a lock
	until time.Time // then it is tried again
}

func (m *migration) run(ctx context.Context, conn *pgx.Conn) error {
	switch {
	case m.done:
		return nil
	case m.now().Before(m.until):
		return m.aside
	}
	err := schema.Migrate(ctx, m.cfg.Database, options(m.cfg), m.log)
	m.aside, m.until = err, m.now().Add(aside(err))
	kind := database.Classify(err)
	refused := database.ServerError(err) != nil && kind != database.Unready
	switch {
	case err == nil:
	case kind == database.Lost || kind == database.Unavailable:
		return err
	case errors.Is(err, schema.ErrUnlogged):
		return &database.UnfitError{Reason: "queue is unlogged: a crash of the server empties it (UNLOGGED_QUEUE)", Err: err}
	case refused || current(ctx, m.cfg, conn) != nil:
		return &database.UnfitError{Reason: "schema cannot be migrated", Err: err}
	default:
		// A right is missing. Where somebody else has migrated with more of them, this service can do without. Any other
		// refusal may pass, and what it kept from being done (a role's rights) is needed.
		m.log.WarnContext(ctx, "the schema is current, but migrating failed", "error", err)
	}
	m.done = true
	return nil
}

// current is nil when the database has the schema that this build needs and can be written to.
func current(ctx context.Context, cfg *config.Config, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Database.ConnectTimeout)
	defer cancel()
	if err := database.Writable(ctx, conn); err != nil {
		return err
	}
	version, err := schema.Current(ctx, conn)
	if err != nil {
		return err
	}
	if version < schema.Version {
		return &database.UnfitError{Reason: fmt.Sprintf("schema is at version %d, waiting for %d", version, schema.Version)}
	}
	return nil
}
