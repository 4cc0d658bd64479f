// Package testdb gives each test a database of its own on a real PostgreSQL, copied from a template that was migrated
// once. It is imported by tests only.
package testdb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/postgres"
	"orderflow.example/services/api/internal/schema"
)

// Queue is the queue of the databases.
const Queue = "order_queue"

var template struct {
	once sync.Once
	name string
	err  error
}

// Run is for TestMain: it runs the tests and removes what they share.
func Run(m *testing.M) int {
	code := m.Run()
	if template.name != "" && os.Getenv("TEST_TEMPLATE") == "" {
		if err := admin(context.Background(), "drop database if exists "+template.name+" with (force)"); err != nil {
			fmt.Fprintln(os.Stderr, "remove the template database:", err)
			return 1
		}
	}
	return code
}

// New makes a migrated database for the test, removes it afterwards, and returns its URL.
func New(tb testing.TB) string {
	tb.Helper()
	ctx := tb.Context()
	if ServerURL() == "" {
		tb.Fatal("no database to test on: run make test, or set TEST_DATABASE_URL to a PostgreSQL whose user may create databases")
	}
	template.once.Do(func() { template.name, template.err = makeTemplate() })
	if template.err != nil {
		tb.Fatalf("make the template database: %v", template.err)
	}
	name := unique("orderflow_api_test")
	Create(tb, ctx, name, template.name)
	return URL(name)
}

// Empty makes a database without anything in it for the test and returns its URL.
func Empty(tb testing.TB) string {
	tb.Helper()
	name := unique("orderflow_api_empty")
	Create(tb, tb.Context(), name, "template1")
	return URL(name)
}

// Create makes a database from a template and removes it when the test has ended.
func Create(tb testing.TB, ctx context.Context, name, template string) { //nolint:revive // tb goes first in test helpers
	tb.Helper()
	if err := admin(ctx, "create database "+name+" template "+template); err != nil {
		tb.Fatalf("create a database: %v", err)
	}
	tb.Cleanup(func() {
		if err := admin(context.Background(), "drop database if exists "+name+" with (force)"); err != nil {
			tb.Errorf("remove the database: %v", err)
		}
	})
}

// ServerURL is the server's maintenance database; empty when there is none.
func ServerURL() string { return os.Getenv("TEST_DATABASE_URL") }

// URL is that of another database on the server.
func URL(name string) string {
	u, err := url.Parse(ServerURL())
	if err != nil {
		panic(err) // the server has been reached by it before
	}
	u.Path = "/" + name
	return u.String()
}

// Connect opens a connection and closes it when the test has ended.
func Connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Config is how the program connects to url; timeout is for one attempt.
func Config(tb testing.TB, url string, timeout time.Duration) *pgx.ConnConfig {
	tb.Helper()
	address, err := postgres.Parse(url)
	if err != nil {
		tb.Fatal(err)
	}
	return address.Config("orderflow-api", timeout)
}

// makeTemplate takes the template that TEST_TEMPLATE names or migrates one, with the PGMQ that TEST_PGMQ asks for (sql, or
// extension; by default the extension where there is one).
func makeTemplate() (string, error) {
	if name := os.Getenv("TEST_TEMPLATE"); name != "" {
		return name, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := unique("orderflow_api_template")
	if err := admin(ctx, "create database "+name); err != nil {
		return "", err
	}
	address, err := postgres.Parse(URL(name))
	if err != nil {
		return name, err
	}
	return name, schema.Migrate(ctx, address.Config("orderflow-api", time.Minute), schema.Options{Queue: Queue, PGMQ: schema.Install(os.Getenv("TEST_PGMQ"))}, slog.New(slog.DiscardHandler))
}

// admin runs a statement on the maintenance database. Copying a template fails while somebody else is connected to it or
// copies it, so that is tried again.
func admin(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, ServerURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for {
		_, err = conn.Exec(ctx, sql)
		if err == nil || !strings.Contains(err.Error(), "is being accessed by other users") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func unique(prefix string) string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	return prefix + "_" + hex.EncodeToString(random[:])
}

// DropRole removes a role once the databases in which it had rights are gone.
func DropRole(tb testing.TB, name string) {
	tb.Helper()
	if err := admin(context.Background(), "drop role if exists "+pgx.Identifier{name}.Sanitize()); err != nil {
		tb.Errorf("remove the role: %v", err)
	}
}

// Encoded makes a migrated database with an encoding of its own, and returns its URL.
func Encoded(tb testing.TB, encoding string) string {
	tb.Helper()
	name := unique("orderflow_api_encoded")
	Create(tb, tb.Context(), name, "template0 encoding '"+encoding+"' locale 'C'")
	if err := schema.Migrate(tb.Context(), Config(tb, URL(name), time.Minute), schema.Options{Queue: Queue, PGMQ: schema.Install(os.Getenv("TEST_PGMQ"))}, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	return URL(name)
}

// NewProxy makes a proxy in front of a database, for as long as the test lasts.
func NewProxy(tb testing.TB, database string) *pgproxy.Proxy {
	tb.Helper()
	p, err := pgproxy.New(database)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}
