package postgres_test

import (
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"orderflow.example/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the address of the Postgres for tests.
func server(t *testing.T) *url.URL {
	t.Helper()
	return parsed(t, testdb.Server(t))
}

// database makes an empty one and returns its address; with are clauses of create database.
func database(t *testing.T, with ...string) *url.URL {
	t.Helper()
	return parsed(t, testdb.Empty(t, with...))
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
