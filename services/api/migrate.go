package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

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
			log.WarnContext(ctx, cmp.Or(postgres.Refusal(err), "database is away")+"; retrying", "error", postgres.Brief(err))
		}
		if !wait.For(ctx, pauses.Next()) {
			return ctx.Err()
		}
	}
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
	migrated := !cfg.MigrateOnStart
	return func(ctx context.Context, conn *pgx.Conn) error {
		if !migrated {
			err := schema.Migrate(ctx, cfg.Database, options(cfg), log)
			kind := database.Classify(err)
			refused := database.ServerError(err) != nil && kind != database.Unready
			switch {
			case err == nil:
				migrated = true
			case kind == database.Lost || kind == database.Unavailable:
				return err
			case errors.Is(err, schema.ErrUnlogged):
				return &database.UnfitError{Reason: "queue is unlogged: a crash of the server empties it (UNLOGGED_QUEUE)", Err: err}
			case refused || current(ctx, cfg, conn) != nil:
				return &database.UnfitError{Reason: "schema cannot be migrated", Err: err}
			default:
				// A right is missing. Where somebody else has migrated with more of them, this service can do without. Any other
				// refusal may pass, and what it kept from being done (a role's rights) is needed.
				log.WarnContext(ctx, "the schema is current, but migrating failed", "error", err)
				migrated = true
			}
		}
		return current(ctx, cfg, conn)
	}
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
