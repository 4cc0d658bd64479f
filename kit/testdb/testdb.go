// Package testdb gives each test a PostgreSQL database of its own, on the server that TEST_DATABASE_URL names, and drops it when the test
// has ended. `make test` starts such a server.
//
// It must never be imported by anything but tests, and never know what is in the databases.
package testdb

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/postgres"
)

// Server is the URL of the server's maintenance database, as its superuser.
func Server(tb testing.TB) string {
	tb.Helper()
	return variable(tb, "TEST_DATABASE_URL", "the URL of a PostgreSQL superuser")
}

// Template is the name of a migrated database on the server.
func Template(tb testing.TB) string {
	tb.Helper()
	return variable(tb, "TEST_TEMPLATE", "a database that `api migrate` has migrated")
}

// New makes a copy of the migrated database and returns the copy's URL.
func New(tb testing.TB) string {
	tb.Helper()
	return create(tb, "template "+pgx.Identifier{Template(tb)}.Sanitize())
}

// Empty makes a database with nothing in it and returns its URL. with are clauses of "create database", such as an encoding.
func Empty(tb testing.TB, with ...string) string {
	tb.Helper()
	return create(tb, strings.Join(with, " "))
}

// Encoded makes an empty database with an encoding of its own and returns its URL.
func Encoded(tb testing.TB, encoding string) string {
	tb.Helper()
	return Empty(tb, "template template0 encoding '"+encoding+"' locale 'C'")
}

// NewEncoded makes a copy of the migrated database that has another encoding, and returns the copy's URL. What is in the migrated one is ASCII, which
// all encodings of servers have alike.
func NewEncoded(tb testing.TB, encoding string) string {
	tb.Helper()
	copied, err := url.Parse(New(tb))
	if err != nil {
		tb.Fatal(err)
	}
	Admin(tb, "update pg_catalog.pg_database set encoding = pg_catalog.pg_char_to_encoding('"+encoding+"'), datcollate = 'C', datctype = 'C' "+
		"where datname = '"+strings.TrimPrefix(copied.Path, "/")+"'")
	query := copied.Query()
	query.Set("client_encoding", "UTF8") // as programs have it
	copied.RawQuery = query.Encode()
	return copied.String()
}

func create(tb testing.TB, with string) string {
	tb.Helper()
	server, err := url.Parse(Server(tb))
	if err != nil {
		tb.Fatalf("TEST_DATABASE_URL must be a URL: %v", err)
	}
	name := Name("db")
	Admin(tb, "create database "+name+" "+with)
	tb.Cleanup(func() { Admin(tb, "drop database if exists "+name+" with (force)") })
	server.Path = "/" + name
	return server.String()
}

// Name is one that no other test has, for a database, a role or the like. It needs no quoting.
func Name(kind string) string { return "test_" + kind + "_" + strings.ToLower(rand.Text()[:12]) }

// Role names a role for the test and drops it when the test has ended, after what it has rights to: ask for it before the database.
func Role(tb testing.TB, kind string) string {
	tb.Helper()
	name := Name(kind)
	tb.Cleanup(func() { Admin(tb, "drop role if exists "+name) })
	return name
}

// Admin runs statements on the server's maintenance database. A database cannot be copied while somebody is connected to it or copies it;
// that is waited for.
func Admin(tb testing.TB, statements ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), await.Limit())
	defer cancel()
	conn, err := pgx.Connect(ctx, Server(tb))
	if err != nil {
		tb.Fatalf("connect to TEST_DATABASE_URL: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		_, err := conn.Exec(ctx, statement)
		for inUse(err) && ctx.Err() == nil {
			pause(ctx)
			_, err = conn.Exec(ctx, statement)
		}
		if err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
}

func inUse(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == pgerrcode.ObjectInUse
}

func pause(ctx context.Context) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// Connect opens a connection and closes it when the test has ended.
func Connect(tb testing.TB, databaseURL string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), databaseURL)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

// Address is a database's, as a program reads it.
func Address(tb testing.TB, databaseURL string) postgres.Address {
	tb.Helper()
	address, err := postgres.Parse(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	return address
}

// Config is how a program connects to a database; timeout is for one attempt.
func Config(tb testing.TB, databaseURL string, timeout time.Duration) *pgx.ConnConfig {
	tb.Helper()
	return Address(tb, databaseURL).Config("test", timeout)
}

// Proxy puts a proxy before a database for as long as the test lasts.
func Proxy(tb testing.TB, databaseURL string) *pgproxy.Proxy {
	tb.Helper()
	proxy, err := pgproxy.New(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(proxy.Close)
	return proxy
}

// Pooler puts a PgBouncer before a database for as long as the test lasts. Without PgBouncer the test is skipped, but not in CI.
func Pooler(tb testing.TB, databaseURL string, mode pgbouncer.Mode, connections int) *pgbouncer.Pooler {
	tb.Helper()
	p, err := pgbouncer.Start(tb.Context(), databaseURL, mode, connections)
	switch {
	case errors.Is(err, pgbouncer.ErrMissing) && os.Getenv("CI") == "":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Log(p.Log())
		}
	})
	return p
}

// Inherited is what a client of a pooler finds on its connections without having done anything: settings, locks and the like of others.
// There are so many connections, and all of them have to be free. What PgBouncer itself gives each client is left out.
func Inherited(tb testing.TB, poolerURL string, connections int) []string {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	var found []string
	for range connections { // each keeps its transaction open until the end, so that all of them are looked at
		conn := Connect(tb, poolerURL+"&default_query_exec_mode=exec")
		defer func() { _ = conn.Close(ctx) }()
		if _, err := conn.Exec(ctx, "begin"); err != nil {
			tb.Fatal(err)
		}
		rows, err := conn.Query(ctx, `
			select name || ' = ' || setting from pg_settings where source = 'session' and setting is distinct from reset_val
			   and name not in ('application_name', 'client_encoding', 'TimeZone', 'DateStyle', 'standard_conforming_strings')
			union all select 'an advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
			union all select 'listening to ' || c from pg_listening_channels() as c
			union all select 'the statement ' || statement from pg_prepared_statements`)
		if err != nil {
			tb.Fatal(err)
		}
		more, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			tb.Fatal(err)
		}
		found = append(found, more...)
	}
	return found
}

func variable(tb testing.TB, name, what string) string {
	tb.Helper()
	value := os.Getenv(name)
	if value == "" {
		tb.Fatalf("no database to test on: run `make test`, or set %s to %s", name, what)
	}
	return value
}
