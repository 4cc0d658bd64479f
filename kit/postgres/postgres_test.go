package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the address of the Postgres for tests.
func server(t *testing.T) *url.URL {
	t.Helper()
	text := os.Getenv("TEST_DATABASE_URL")
	if text == "" {
		t.Fatal("no Postgres to test on: run `make test`, or set TEST_DATABASE_URL (superuser)")
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// admin executes statements on the server.
func admin(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), server(t).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range statements {
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// name is one that no other test has.
func name(prefix string) string {
	return strings.ToLower(prefix + "_" + rand.Text()[:10])
}

// database makes an empty one and returns its address; with are clauses of create database.
func database(t *testing.T, with string) *url.URL {
	t.Helper()
	db := name("kit")
	admin(t, fmt.Sprintf("create database %s %s", db, with))
	t.Cleanup(func() { admin(t, fmt.Sprintf("drop database %s with (force)", db)) })
	u := server(t)
	u.Path = "/" + db
	return u
}
