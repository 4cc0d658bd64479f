package lease

import (
	"log/slog"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// A heartbeat that has no answer in time may have been about too many leases: the next one is about fewer, until the database is quick again.
func TestAHeartbeatThatHasNoAnswerIsMadeSmaller(t *testing.T) {
	t.Parallel()
	const leases = 40 // which take four seconds
	db := dbtest.New(t)
	db.Publish(leases)
	q := queue.New(dbtest.QueueName, false)
	fetched, err := q.Fetch(t.Context(), testdb.Connect(t, db.URL), queue.Bounds{Messages: leases, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Hour)
	if err != nil || len(fetched.Messages) != leases {
		t.Fatalf("%d messages, %v", len(fetched.Messages), err)
	}
	db.Exec(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
		create trigger slow before update on pgmq.q_order_queue for each row execute function slow()`)

	log := slog.New(slog.DiscardHandler)
	link := pg.NewServer(db.Address(), "one", log, pg.Observer{}).NewLink("heartbeat", nil)
	defer link.Close()
	h := &Heartbeats{
		Link: link, Queue: q, Held: NewSet(leases), Term: NewTerm(time.Hour, log), Consumer: "one", Progress: health.NewProgress(time.Now), Log: log,
		Metrics: metrics.New("test", dbtest.QueueName, "test"),
	}
	deliveries := make([]*Delivery, leases)
	for i := range deliveries {
		deliveries[i] = New(&fetched.Messages[i].Message, time.Now(), time.Now(), time.Hour)
	}
	h.Held.Add(deliveries)
	h.beat(t.Context(), deliveries)
	if h.most != leases/2 {
		t.Fatalf("the next one is about %d", h.most)
	}
	db.Exec(`drop trigger slow on pgmq.q_order_queue`)
	h.beat(t.Context(), deliveries[:h.most])
	if h.most != leases/2+leases/16+1 {
		t.Errorf("after one that was quick the next one is about %d", h.most)
	}
}
