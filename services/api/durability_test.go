package main

import (
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// With DURABILITY=strict no order is accepted that a crash would lose, and readiness says what is wrong, until it is mended.
func TestStrictAcceptsNothingThatACrashWouldLose(t *testing.T) {
	t.Parallel()
	db, role, asRole := leastPrivileged(t)
	s := started(t, map[string]string{"DATABASE_URL": asRole, "DURABILITY": "strict"})
	s.place(t, "/orders", orderJSON(0))
	conn := testdb.Connect(t, db)
	change := func(sql string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(sql, "%role%", role)).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	change(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '%role%';
		alter table pgmq.q_order_queue set unlogged; select pg_terminate_backend(pid) from pg_stat_activity where usename = '%role%'`)
	await.True(t, "orders to be refused for what a crash would lose", func() bool {
		a := s.post(t, "/orders", orderJSON(1))
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "q_order_queue is unlogged") && strings.Contains(a.body, "nothing was written")
	})
	before := count(t, db, `select count(*) from orders`)
	if a := s.post(t, "/orders", orderJSON(2)); a.status != http.StatusServiceUnavailable || count(t, db, `select count(*) from orders`) != before {
		t.Errorf("got %d %s", a.status, a.body)
	}
	await.True(t, "readiness to say so", func() bool { // the monitor, whose word comes first, may still be connecting
		a := s.get(t, "/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "is unlogged")
	})
	change(`alter table pgmq.q_order_queue set logged`)
	s.awaitReady(t)
	if a := s.post(t, "/orders", orderJSON(3)); a.status != http.StatusCreated {
		t.Errorf("mended, and: %d %s", a.status, a.body)
	}
}

// What somebody has set for the role does not count: the session that writes waits for the disk all the same, and that is what is looked at.
func TestStrictGoesByTheSessionThatWrites(t *testing.T) {
	t.Parallel()
	_, role, asRole := leastPrivileged(t)
	testdb.Admin(t, "alter role "+role+" set synchronous_commit = off")
	s := started(t, map[string]string{"DATABASE_URL": asRole, "DURABILITY": "strict"})
	s.place(t, "/orders", orderJSON(0))
}

// By default it is only said.
func TestWarnAcceptsAndSays(t *testing.T) {
	t.Parallel()
	db, _, asRole := leastPrivileged(t)
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `alter table pgmq.q_order_queue set unlogged`); err != nil {
		t.Fatal(err)
	}
	s := started(t, map[string]string{"DATABASE_URL": asRole, "MIGRATE_ON_START": "false"})
	s.place(t, "/orders", orderJSON(0))
	s.log.await(t, "orders may be lost: pgmq.q_order_queue is unlogged: a crash or a failover empties it")
}
