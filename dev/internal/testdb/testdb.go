// Package testdb gives each test a database of its own, on the server that `make test` has started.
package testdb

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"orderflow.example/dev/internal/stack"
)

// New creates a database, empty or as a copy of the migrated template, and returns its URL. It is dropped at the end of the test.
func New(tb testing.TB, migrated bool) string {
	tb.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	template := ""
	if migrated {
		template = os.Getenv("TEST_TEMPLATE")
	}
	if server == "" || migrated && template == "" {
		tb.Fatal("no Postgres for tests: run `make test`, or set TEST_DATABASE_URL (superuser, any database) and TEST_TEMPLATE (a migrated one)")
	}
	name := "dev_test_" + strings.ToLower(rand.Text()[:10])
	url, err := stack.CreateDatabase(tb.Context(), server, name, template)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := stack.DropDatabase(context.Background(), server, name); err != nil {
			tb.Error(err)
		}
	})
	return url
}
