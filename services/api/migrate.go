package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/schema"
)

// migrate brings the schema up to date. It waits for a database that is away, as everything here does; what the database
// refuses otherwise is an error.
func migrate(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	const shortest, longest = 50 * time.Millisecond, time.Second
	for pause := shortest; ; pause = min(2*pause, longest) {
		err := schema.Migrate(ctx, cfg.Database, options(cfg), log)
		if err == nil {
			log.InfoContext(ctx, "schema is up to date", "version", schema.Version)
			return nil
		}
		if ctx.Err() != nil || !database.Away(err) {
			return fmt.Errorf("migrate: %w", err)
		}
		if pause == shortest {
			log.WarnContext(ctx, "database is away, trying again until it is there", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// prepare makes the monitor's check of a new connection: that the database has the schema this build needs. The first
// time it migrates, when that is wanted.
func prepare(cfg *config.Config, log *slog.Logger) func(context.Context, *pgx.Conn) error {
	migrated := !cfg.MigrateOnStart
	return func(ctx context.Context, conn *pgx.Conn) error {
		if !migrated {
			if err := schema.Migrate(ctx, cfg.Database, options(cfg), log); err != nil {
				if database.Away(err) {
					return err
				}
				return &database.UnfitError{Reason: "schema cannot be migrated", Err: err}
			}
			migrated = true
		}
		ctx, cancel := context.WithTimeout(ctx, cfg.Database.ConnectTimeout)
		defer cancel()
		current, err := schema.Current(ctx, conn)
		if err != nil {
			return err
		}
		if current < schema.Version {
			return &database.UnfitError{Reason: fmt.Sprintf("schema is at version %d, waiting for %d", current, schema.Version)}
		}
		return nil
	}
}
