package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
)

// CreateDatabase creates a database, as a copy of the template when one is named, and returns its URL.
func CreateDatabase(ctx context.Context, serverURL, name, template string) (string, error) {
	sql := "create database " + quote(name)
	if template != "" {
		sql += " template " + quote(template)
	}
	if err := execute(ctx, serverURL, sql); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return postgres.WithDatabase(serverURL, name)
}

// DropDatabase drops a database and whoever is connected to it.
func DropDatabase(ctx context.Context, serverURL, name string) error {
	if err := execute(ctx, serverURL, "drop database if exists "+quote(name)+" with (force)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

func execute(ctx context.Context, databaseURL, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// Migrate runs `api migrate` against a database.
func Migrate(ctx context.Context, s *session.Session, binaries Binaries, databaseURL string) error {
	migrate, err := proc.Start(s, proc.Spec{
		Name: "api migrate", Path: binaries[API], Args: []string{"migrate"},
		Env: environ(false, os.Environ(), API, "DATABASE_URL="+databaseURL),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	code, err := migrate.Wait(ctx)
	if err != nil {
		migrate.Kill()
		return fmt.Errorf("api migrate: %w", err)
	}
	if code != 0 {
		return migrate.Failure()
	}
	return nil
}
