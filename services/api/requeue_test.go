package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/program"
	"orderflow.example/kit/testdb"
)

// command runs a command of the program, and returns what it prints.
func command(t *testing.T, db string, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	log := newLines()
	if code := run(t.Context(), args, environment(map[string]string{"DATABASE_URL": connectWithin(db, time.Minute), "ORDER_RETENTION": "1h", "DEAD_LETTER_RETENTION": "2h"}), &out, log); code != want {
		t.Errorf("%v: exit code %d\n%s", args, code, log)
	}
	return out.String()
}

// What the metric shows, the command lists, and mends when it is told to.
func TestOrdersWhoseMessageIsGoneAreSeenAndRequeued(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	for i := range 3 {
		s.place(t, "/orders", orderJSON(i))
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := testdb.Connect(t, db).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`delete from pgmq.q_order_queue where msg_id <> 2`)
	if got, want := command(t, db, program.OK, "requeue"), "order_queue: 3 orders looked at, 0 pending for more than 5m0s without a message\n"; got != want {
		t.Errorf("orders that are young: %q, want %q", got, want)
	}
	exec(`update orders set created_at = created_at - interval '1 hour' where id <> 2`)

	second := &service{url: s.metrics}
	shows := func(metric string) func() bool {
		return func() bool { return strings.Contains(second.get(t, "/metrics").body, "\n"+metric+"\n") }
	}
	await.True(t, "the metric to say so", shows("orderflow_api_stranded_orders 2"))
	s.log.await(t, "orders are pending without a message, and nobody will process them: `api requeue` lists them, and gives them new ones")

	listed := command(t, db, program.OK, "requeue")
	for _, want := range []string{"order 1, created ", "order 3, created ", "2 pending for more than 5m0s without a message; nothing was changed: -apply"} {
		if !strings.Contains(listed, want) {
			t.Errorf("no %q in\n%s", want, listed)
		}
	}
	if got := command(t, db, program.OK, "requeue", "-older-than", "2h", "-apply"); !strings.Contains(got, "0 pending") {
		t.Error(got)
	}
	if n := count(t, db, `select count(*) from pgmq.q_order_queue`); n != 1 {
		t.Errorf("%d messages after a dry run", n)
	}
	if got := command(t, db, program.OK, "requeue", "-apply"); !strings.Contains(got, "2 have a new one") {
		t.Error(got)
	}
	if n := count(t, db, `select count(distinct message ->> 'order_id') from pgmq.q_order_queue q join orders o on o.message_id = q.msg_id`); n != 3 {
		t.Errorf("%d orders have their message", n)
	}
	await.True(t, "the metric to say that it is mended", shows("orderflow_api_stranded_orders 0"))
	if got := command(t, db, program.OK, "requeue", "-apply"); !strings.Contains(got, "0 pending") {
		t.Error(got)
	}
}

// A queue that a crash would empty is refused before any order is accepted, and says what to do.
func TestAnUnloggedQueueIsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	runMigrate(t, db, nil)
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `alter table pgmq.q_order_queue set unlogged`); err != nil {
		t.Fatal(err)
	}
	log := newLines()
	if code := run(t.Context(), []string{"migrate"}, environment(map[string]string{"DATABASE_URL": db}), &bytes.Buffer{}, log); code != program.Fault {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"alter table pgmq.q_order_queue set logged;", "UNLOGGED_QUEUE=allow"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	s := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "true"})
	await.True(t, "readiness to say why", func() bool {
		a := s.get(t, "/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "unlogged")
	})
	if _, err := conn.Exec(t.Context(), `alter table pgmq.q_order_queue set logged`); err != nil {
		t.Fatal(err)
	}
	s.awaitReady(t)

	for _, table := range []string{"orders", "pgmq.q_order_queue_dlq"} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(`alter table %s set unlogged`, table)); err != nil {
			t.Fatal(err)
		}
		if code := run(t.Context(), []string{"migrate"}, environment(map[string]string{"DATABASE_URL": db}), &bytes.Buffer{}, newLines()); code != program.Fault {
			t.Errorf("%s is unlogged: exit code %d", table, code)
		}
	}
	runMigrate(t, db, map[string]string{"UNLOGGED_QUEUE": "allow"})
}
