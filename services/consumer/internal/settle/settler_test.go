package settle_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/settle"
	"orderflow.example/services/consumer/internal/signal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server that is there and takes no connections, as one that starts up, gives no answer to what there is to write: the results wait for a
// connection, and reading for the results.
func TestResultsWaitWhereNobodyCanConnect(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Publish(1)
	q := queue.New(dbtest.QueueName, false)
	conn := testdb.Connect(t, db.URL)
	fetched, err := q.Fetch(t.Context(), conn, queue.Bounds{Messages: 1, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Hour)
	if err != nil || len(fetched.Messages) != 1 {
		t.Fatalf("%+v, %v", fetched, err)
	}
	log := slog.New(slog.DiscardHandler)
	server := pg.NewServer(db.Address(), "one", log, pg.Observer{})
	link := server.NewLink("settle", nil)
	defer link.Close()
	held, rules := lease.NewSet(1), ending.NewRules(1, 1, backoff.Policy{Base: time.Second, Max: time.Second, Multiplier: 1})
	s := settle.New(settle.Needs{
		Queue: q, Held: held, Rules: rules, Consumer: "one", RetryIn: func(time.Duration) {}, Draining: func() bool { return false },
		Room: signal.New(), Progress: health.NewProgress(time.Now), Note: func(ending.Op, error) {}, Unwritten: &settle.Unwritten{},
		Tally: &presence.Tally{}, Log: log, Metrics: metrics.New("test", dbtest.QueueName, "test"),
	}, link, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	defer func() { stop(); <-ended }()

	m := fetched.Messages[0].Message
	d := lease.New(&m, time.Now(), time.Now(), time.Hour)
	held.AddLeaving([]*lease.Delivery{d})
	testdb.Admin(t, "alter database "+server.Database()+" allow_connections false")
	s.Put(d, rules.Decide(&m, ending.Unstarted{}))
	await.True(t, "the result waits for a connection", s.Overdue)
	testdb.Admin(t, "alter database "+server.Database()+" allow_connections true")
	await.True(t, "it is written", func() bool {
		s.CatchUp(t.Context())
		return !s.Overdue() && held.Size() == 0
	})
	var due bool
	if err := conn.QueryRow(t.Context(), `select vt <= clock_timestamp() from pgmq.q_order_queue`).Scan(&due); err != nil || !due {
		t.Errorf("it was not handed back: %v", err)
	}
}
