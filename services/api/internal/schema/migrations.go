package schema

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"orderflow.example/kit/postgres"
)

// versionTable is goose's table of applied migrations. Services read it to know whether they may start.
const versionTable = "public.orderflow_migrations"

// pgmqVersion is the migration that installs PGMQ. It is written in Go because what it does depends on the server.
const pgmqVersion = 1

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationName is a migration's file without its ending, or the number of one in Go.
func migrationName(s *goose.Source) string {
	if s.Path == "" {
		return fmt.Sprintf("%05d", s.Version)
	}
	return strings.TrimSuffix(path.Base(s.Path), ".sql")
}

// applyMigrations runs those migrations that the database does not have yet, each in a transaction of its own. The
// caller holds the lock.
func applyMigrations(ctx context.Context, cfg *pgx.ConnConfig, opts Options, log *slog.Logger) error {
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		// The adoption of an existing orders table looks into the queue to tell what has been processed.
		return postgres.Set(ctx, conn.PgConn(), postgres.Settings{"orderflow.queue": opts.Queue})
	}))
	defer db.Close()

	provider, err := newProvider(db, opts, log)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.InfoContext(ctx, "migration applied", "migration", migrationName(r.Source), "duration", r.Duration)
	}
	if denied(err) {
		return fmt.Errorf("migrate: %w: the role that migrates must own the database, or have create on it and on its schema public; "+
			"where somebody else has installed PGMQ, also usage and create on schema pgmq, and all on pgmq.meta", err)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", explained(ctx, provider, err))
	}
	return nil
}

func newProvider(db *sql.DB, opts Options, log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	installPGMQ := goose.NewGoMigration(pgmqVersion, &goose.GoFunc{
		RunTx: func(ctx context.Context, tx *sql.Tx) error {
			return ensurePGMQ(ctx, tx, opts.PGMQ, log)
		},
	}, nil)

	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable),
		goose.WithGoMigrations(installPGMQ),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}
