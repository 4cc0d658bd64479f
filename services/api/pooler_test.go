package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/testdb"
)

const poolSize = 4

// The schema is made, and orders are written, found and listed through a pooler in transaction mode, and its other clients find nothing of
// it.
func TestTheAPIWorksThroughAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, testdb.Empty(t), pgbouncer.Transaction, poolSize)
	s := start(t, map[string]string{"DATABASE_URL": p.URL, "MIGRATE_ON_START": "true", "PGMQ_INSTALL": "sql"})
	again := start(t, map[string]string{"DATABASE_URL": p.URL, "MIGRATE_ON_START": "true", "PGMQ_INSTALL": "sql"})
	s.awaitReady(t)
	again.awaitReady(t)
	for i := range 20 {
		for _, to := range []*service{s, again} {
			if a := to.post(t, "/orders", orderJSON(i)); a.status != http.StatusCreated {
				t.Fatalf("got %d %s", a.status, a.body)
			}
		}
		if a := s.get(t, "/orders?limit=50"); a.status != http.StatusOK || strings.Count(a.body, `"message_id"`) != 2*i+2 {
			t.Fatalf("got %d %s", a.status, a.body)
		}
	}
	var details struct {
		Pooler string `json:"pooler"`
	}
	if err := json.Unmarshal([]byte((&service{url: s.metrics}).get(t, "/readyz").body), &details); err != nil || details.Pooler != "transaction mode" {
		t.Errorf("readiness says %+v (%v)", details, err)
	}
	s.stop()
	again.stop()
	s.wait(t)
	again.wait(t)
	if found := testdb.Inherited(t, p.URL, poolSize); len(found) > 0 {
		t.Errorf("another client of the pool finds %s", strings.Join(found, ", "))
	}
}

// An order is answered with 201 or 503, whatever becomes of the pooler, and readiness comes back by itself.
func TestTheAPISurvivesWhatHappensToAPooler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := testdb.Pooler(t, db, pgbouncer.Transaction, poolSize)
	s := started(t, map[string]string{"DATABASE_URL": p.URL, "REQUEST_TIMEOUT": "5s"})
	admin := testdb.Connect(t, db)
	for name, happens := range map[string]struct{ begins, ends func() error }{
		"killed": {func() error { p.Kill(); return nil }, func() error { return p.Restart(t.Context()) }},
		"paused": {p.Pause, p.Resume},
		"server takes no connections": {func() error {
			_, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
			return err
		}, func() error { return nil }},
	} {
		// A connection of the pooler's may still turn out to be one that was ended.
		await.True(t, "an order is written before it is "+name, func() bool { return s.post(t, "/orders", orderJSON(1)).status == http.StatusCreated })
		if err := happens.begins(); err != nil {
			t.Fatal(err)
		}
		if name != "server takes no connections" {
			await.True(t, name+" is noticed", func() bool { return s.get(t, "/readyz").status == http.StatusServiceUnavailable })
		}
		if err := happens.ends(); err != nil {
			t.Fatal(err)
		}
		await.True(t, "an order is written", func() bool { return s.post(t, "/orders", orderJSON(1)).status == http.StatusCreated })
		s.awaitReady(t)
	}
}

// In statement mode nothing can be relied on. That is a mistake, and no outage.
func TestAPoolerInStatementModeIsCalledThat(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, testdb.New(t), pgbouncer.Statement, poolSize)
	s := start(t, map[string]string{"DATABASE_URL": p.URL})
	await.True(t, "readiness says so", func() bool {
		return strings.Contains(s.get(t, "/readyz").body, "set pool_mode to transaction or session")
	})
	if err := p.Change(pgbouncer.Transaction, poolSize); err != nil {
		t.Fatal(err)
	}
	s.awaitReady(t)
}

// The first of several hosts is like a standby: it takes connections, and no orders.
func TestTheHostThatTakesWritesIsFound(t *testing.T) {
	t.Parallel()
	db, role, asRole := leastPrivileged(t)
	if _, err := testdb.Connect(t, db).Exec(t.Context(), `alter role `+role+` set default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	standby := testdb.Pooler(t, asRole, pgbouncer.Session, 20)
	alone := start(t, map[string]string{"DATABASE_URL": standby.URL})
	await.True(t, "readiness to say that it is read-only", func() bool { return strings.Contains(alone.get(t, "/readyz").body, "read-only") })

	first, err := url.Parse(standby.URL)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	hosts.Host = first.Host + "," + hosts.Host
	started(t, map[string]string{"DATABASE_URL": hosts.String()}).place(t, "/orders", orderJSON(1))
}
