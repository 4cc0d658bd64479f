package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Install is a way to get PGMQ into a database that has none. A PGMQ that is there already stays as it is, whatever way
// it came.
type Install string

// The ways to install PGMQ.
const (
	// InstallAuto takes the extension when the server offers it and the role may create it, else the SQL-only PGMQ.
	InstallAuto Install = "auto"
	// InstallExtension takes the extension and fails without it.
	InstallExtension Install = "extension"
	// InstallSQL takes the SQL-only PGMQ even where the extension is offered.
	InstallSQL Install = "sql"
)

func (i Install) validate() error {
	switch i {
	case "", InstallAuto, InstallExtension, InstallSQL:
		return nil
	}
	return fmt.Errorf("PGMQ install %q: allowed are auto, extension and sql", string(i))
}

// The SQL-only PGMQ, run in the order of the files' names. Every file can run again over its own result.
//
//go:embed pgmq/*.sql
var pgmqFiles embed.FS

// ensurePGMQ installs PGMQ unless the database has one that Orderflow can work with.
func ensurePGMQ(ctx context.Context, tx *sql.Tx, how Install, log *slog.Logger) error {
	var installed, offered sql.NullString
	var ours, foreign bool
	err := tx.QueryRowContext(ctx, `
		select
			(select extversion from pg_catalog.pg_extension where extname = 'pgmq'),
			(select default_version from pg_catalog.pg_available_extensions where name = 'pgmq'),
			to_regprocedure('pgmq._orderflow_revision()') is not null,
			exists (select from pg_catalog.pg_proc where pronamespace = to_regnamespace('pgmq'))`,
	).Scan(&installed, &offered, &ours, &foreign)
	if err != nil {
		return fmt.Errorf("look for PGMQ: %w", err)
	}

	switch {
	case ours:
		log.InfoContext(ctx, "PGMQ is installed", "flavour", "sql-only")
		return nil
	case installed.Valid:
		if !recentPGMQ(installed.String) {
			return fmt.Errorf("the installed extension pgmq %s has no message headers: update it to 1.5 or later (alter extension pgmq update)", installed.String)
		}
		log.InfoContext(ctx, "PGMQ is installed", "flavour", "extension", "pgmq_version", installed.String)
		return nil
	case foreign:
		return acceptForeignPGMQ(ctx, tx, log)
	}

	if how == InstallSQL {
		return installSQLOnly(ctx, tx, log)
	}
	err = createExtension(ctx, tx, offered)
	if err == nil {
		log.InfoContext(ctx, "PGMQ installed", "flavour", "extension", "pgmq_version", offered.String)
		return nil
	}
	var unavailable *extensionUnavailableError
	if how == InstallExtension || !errors.As(err, &unavailable) {
		return err
	}
	log.InfoContext(ctx, "the extension pgmq cannot be used, installing the SQL-only PGMQ", "reason", unavailable.reason)
	return installSQLOnly(ctx, tx, log)
}

// extensionUnavailableError says why this server and role cannot have the extension, which the SQL-only PGMQ makes up for.
type extensionUnavailableError struct{ reason string }

func (e *extensionUnavailableError) Error() string {
	return "the extension pgmq cannot be created: " + e.reason
}

// createExtension creates the extension in the version that the server offers, or returns an extensionUnavailableError
// and leaves tx usable.
func createExtension(ctx context.Context, tx *sql.Tx, offered sql.NullString) error {
	if !offered.Valid {
		return &extensionUnavailableError{"the server does not offer it"}
	}
	if !recentPGMQ(offered.String) {
		return &extensionUnavailableError{"the server offers " + offered.String + ", which has no message headers (1.5 has)"}
	}

	if _, err := tx.ExecContext(ctx, `savepoint pgmq_extension`); err != nil {
		return fmt.Errorf("create the extension pgmq: %w", err)
	}
	_, err := tx.ExecContext(ctx, `create extension pgmq`)
	if err == nil {
		return nil
	}
	if !denied(err) {
		return fmt.Errorf("create the extension pgmq: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `rollback to savepoint pgmq_extension`); err != nil {
		return fmt.Errorf("create the extension pgmq: %w", err)
	}
	return &extensionUnavailableError{err.Error()}
}

// recentPGMQ tells whether a version of PGMQ has message headers, which came with 1.5.
func recentPGMQ(version string) bool {
	majorText, rest, _ := strings.Cut(version, ".")
	minorText, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(majorText)
	if err != nil {
		return false
	}
	minor, _ := strconv.Atoi(minorText) // "2" is 2.0
	return major > 1 || major == 1 && minor >= 5
}

// acceptForeignPGMQ leaves a PGMQ alone that somebody installed as plain SQL (the project offers that too), if it is one
// that has what Orderflow calls.
func acceptForeignPGMQ(ctx context.Context, tx *sql.Tx, log *slog.Logger) error {
	var usable bool
	err := tx.QueryRowContext(ctx, `
		select to_regprocedure('pgmq.create(text)') is not null
		   and to_regprocedure('pgmq.send(text, jsonb, jsonb)') is not null
		   and to_regprocedure('pgmq.send_batch(text, jsonb[], jsonb[])') is not null
		   and to_regprocedure('pgmq.delete(text, bigint[])') is not null`,
	).Scan(&usable)
	if err != nil {
		return fmt.Errorf("look at the schema pgmq: %w", err)
	}
	if !usable {
		return errors.New("there is a schema pgmq that is not PGMQ 1.5 or later: update or remove it, then migrate again")
	}
	log.InfoContext(ctx, "PGMQ is installed", "flavour", "foreign")
	return nil
}

// pgmqRevision is the revision of our SQL-only PGMQ: what its function _orderflow_revision returns.
const pgmqRevision = 3

// upgradePGMQ brings a SQL-only PGMQ of ours to this build's revision. The caller holds the lock.
func upgradePGMQ(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	var ours bool
	if err := conn.QueryRow(ctx, `select to_regprocedure('pgmq._orderflow_revision()') is not null`).Scan(&ours); err != nil || !ours {
		return err
	}
	var revision int
	if err := conn.QueryRow(ctx, `select pgmq._orderflow_revision()`).Scan(&revision); err != nil {
		return fmt.Errorf("ask for the revision of the SQL-only PGMQ: %w", err)
	}
	if revision >= pgmqRevision {
		return nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return runPGMQFiles(func(text string) error {
			_, err := tx.Exec(ctx, text)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("upgrade the SQL-only PGMQ: %w", err)
	}
	log.InfoContext(ctx, "PGMQ upgraded", "flavour", "sql-only", "from", revision, "to", pgmqRevision)
	return nil
}

func installSQLOnly(ctx context.Context, tx *sql.Tx, log *slog.Logger) error {
	err := runPGMQFiles(func(text string) error {
		_, err := tx.ExecContext(ctx, text)
		return err
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "PGMQ installed", "flavour", "sql-only")
	return nil
}

func runPGMQFiles(run func(text string) error) error {
	files, err := fs.Glob(pgmqFiles, "pgmq/*.sql")
	if err != nil {
		return fmt.Errorf("read the SQL-only PGMQ: %w", err)
	}
	for _, name := range files {
		text, err := pgmqFiles.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read the SQL-only PGMQ: %w", err)
		}
		if err := run(string(text)); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}
