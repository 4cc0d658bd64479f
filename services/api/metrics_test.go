package main

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// What alerts ask about the queue is told by the api as well: a consumer that does not run tells nothing. Nobody's waiting is
// anybody's fault: what is due counts, and not what waits for a retry.
func TestTheQueueIsMeasured(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range []string{
		`select pgmq.send_batch('order_queue', array_fill('{}'::jsonb, array[4]))`,
		`update pgmq.q_order_queue set enqueued_at = now() - interval '1 day'`,
		`update pgmq.q_order_queue set vt = now() - interval '1 hour' where msg_id = 1`,
		`update pgmq.q_order_queue set vt = now() + interval '1 hour' where msg_id = 3`,
		`update pgmq.q_order_queue set vt = now() + interval '1 hour', read_ct = 1 where msg_id = 4`,
		`select pgmq.send('order_queue_dlq', '{}')`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s := started(t, map[string]string{"DATABASE_URL": db})
	var metrics string
	await.True(t, "the queue is measured", func() bool { // a scrape waits for that only so long, and goes without it
		metrics = s.scrape(t)
		return strings.Contains(metrics, "\norderflow_api_queue_messages{")
	})
	for _, line := range []string{
		"orderflow_api_queue_messages{state=\"visible\"} 2\n",
		"orderflow_api_queue_messages{state=\"delayed\"} 1\n",
		"orderflow_api_queue_messages{state=\"in_flight\"} 1\n",
		"orderflow_api_queue_oldest_due_seconds 36", // 3600 and a little
		"orderflow_api_queue_dead_letters 1\n",
		// A rate sees a series from its second sample on. So what has not happened yet is 0, and there.
		"orderflow_api_commit_failures_total{kind=\"connection_lost\"} 0\n",
		"orderflow_api_commit_failures_total{kind=\"fault\"} 0\n",
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("/metrics has no %q in\n%s", line, metrics)
		}
	}
	if due, _ := s.get(t, "/queue").json(t)["oldest_due_seconds"].(interface{ String() string }); due == nil || !strings.HasPrefix(due.String(), "36") {
		t.Errorf("GET /queue says that the oldest that is due has waited for %v s", due)
	}
	if _, err := conn.Exec(t.Context(), `update pgmq.q_order_queue set vt = now() + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	await.True(t, "nothing is due", func() bool { return strings.Contains(s.scrape(t), "\norderflow_api_queue_oldest_due_seconds 0\n") })
}

// What is not known is not told: a zero would say that all is well.
func TestAnUnknownQueueHasNoMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable"})
	metrics := s.scrape(t)
	if !strings.Contains(metrics, "\norderflow_api_database_up 0\n") || strings.Contains(metrics, "orderflow_api_queue_") {
		t.Errorf("/metrics without a database is\n%s", metrics)
	}
}

// scrape returns what Prometheus reads.
func (s *service) scrape(tb testing.TB) string {
	tb.Helper()
	return s.scrapeAs(tb, "text/plain")
}
