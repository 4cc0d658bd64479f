package schema_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/testdb"
	"orderflow.example/kit/testlog"
	"orderflow.example/services/api/internal/schema"
)

// queue is the queue of most tests. Its name has what needs quoting (-) and folding (capitals).
const queue = "Order-Queue"

// database is an empty database of one test's own.
type database struct {
	t    *testing.T
	cfg  *pgx.ConnConfig // as the superuser
	conn *pgx.Conn
	log  *testlog.Buffer
}

// newDatabase creates a database and drops it when the test ends.
func newDatabase(t *testing.T) *database {
	t.Helper()

	cfg := testdb.Config(t, testdb.Empty(t), time.Minute)
	return &database{t: t, cfg: cfg, conn: connect(t, cfg), log: &testlog.Buffer{}}
}

// migrated is newDatabase after Migrate.
func migrated(t *testing.T, install schema.Install) *database {
	t.Helper()
	db := newDatabase(t)
	if err := db.migrate(schema.Options{Queue: queue, PGMQ: install}); err != nil {
		t.Fatal(err)
	}
	return db
}

func (db *database) migrate(opts schema.Options) error {
	return schema.Migrate(db.t.Context(), db.cfg, opts, logger(db.log))
}

// as is the configuration to connect to the database as another role.
func (db *database) as(role, password string) *pgx.ConnConfig {
	cfg := db.cfg.Copy()
	cfg.User, cfg.Password = role, password
	return cfg
}

// newRole returns the name of a role for this test, which need not exist, and drops it when the test ends.
func (db *database) newRole(part string) string {
	db.t.Helper()
	name := "schema test " + testdb.Name(part) // with a space, so that it needs quoting
	quoted := pgx.Identifier{name}.Sanitize()
	admin := connect(db.t, db.cfg)
	db.t.Cleanup(func() {
		mustExec(db.t, admin, `
			do $$
			begin
				if exists (select from pg_roles where rolname = '`+name+`') then
					reassign owned by `+quoted+` to current_user;
					drop owned by `+quoted+`;
					drop role `+quoted+`;
				end if;
			end
			$$`)
	})
	return name
}

// adminConfig is the superuser's configuration for the maintenance database.
func adminConfig(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	return testdb.Config(t, testdb.Server(t), time.Minute)
}

func connect(t *testing.T, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// forEachFlavour runs a test on the SQL-only PGMQ and, where the server offers it, on the extension.
func forEachFlavour(t *testing.T, test func(t *testing.T, install schema.Install)) {
	t.Helper()

	t.Run("sql-only", func(t *testing.T) {
		t.Parallel()
		test(t, schema.InstallSQL)
	})
	if extensionOffered(t) {
		t.Run("extension", func(t *testing.T) {
			t.Parallel()
			test(t, schema.InstallExtension)
		})
	}
}

func extensionOffered(t *testing.T) bool {
	t.Helper()
	admin := connect(t, adminConfig(t))
	return ask[bool](t, admin, `select exists (select from pg_available_extensions where name = 'pgmq')`)
}

// installPGMQ installs PGMQ without anything else, as others might have before Orderflow came.
func (db *database) installPGMQ(install schema.Install) {
	db.t.Helper()
	if install == schema.InstallExtension {
		mustExec(db.t, db.conn, `create extension pgmq`)
		return
	}
	err := schema.RunPGMQFiles(func(text string) error {
		_, err := db.conn.Exec(context.Background(), text)
		return err
	})
	if err != nil {
		db.t.Fatal(err)
	}
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns the one value that a query has for an answer.
func ask[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// table returns a query's rows as text: a line for each, columns joined by |, nulls as ∅.
func table(t *testing.T, conn *pgx.Conn, sql string) (string, error) {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		return "", err
	}
	var rows [][][]byte
	for _, result := range results {
		rows = append(rows, result.Rows...)
	}
	return asText(rows), nil
}

func asText(rows [][][]byte) string {
	var lines []string
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = string(cell)
			if cell == nil {
				cells[i] = "∅"
			}
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return strings.Join(lines, "\n")
}

func wantTable(t *testing.T, conn *pgx.Conn, sql, want string) {
	t.Helper()
	got, err := table(t, conn, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if got != want {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, got, want)
	}
}

// denied tells whether Postgres refused something for want of rights.
func denied(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == pgerrcode.InsufficientPrivilege
}

func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
