package lease

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
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
	q := queue.New(dbtest.QueueName, queue.Description{})
	fetched, err := q.Fetch(t.Context(), testdb.Connect(t, db.URL), queue.Bounds{Messages: leases, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Hour)
	if err != nil || len(fetched.Messages) != leases {
		t.Fatalf("%d messages, %v", len(fetched.Messages), err)
	}
	db.Exec(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
		create trigger slow before update on pgmq.q_order_queue for each row execute function slow()`)

	h, deliveries := beating(t, db, q, fetched, time.Hour)
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

// One lease that cannot be extended loses no other: with whatever error a trigger keeps it from that.
func TestALeaseThatCannotBeExtendedLosesNoOther(t *testing.T) {
	for _, code := range []string{"P0001", "SH001", "42501", "55P03", "57014"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			const leases = 40
			db := dbtest.New(t)
			db.Publish(leases)
			q := queue.New(dbtest.QueueName, queue.Description{})
			fetched, err := q.Fetch(t.Context(), testdb.Connect(t, db.URL), queue.Bounds{Messages: leases, Bytes: 1 << 20, MessageBytes: 1 << 20}, time.Hour)
			if err != nil || len(fetched.Messages) != leases {
				t.Fatalf("%d messages, %v", len(fetched.Messages), err)
			}
			db.Exec(`create function refuse() returns trigger language plpgsql as $$ begin
				if old.msg_id = 7 then raise exception 'not this one' using errcode = '` + code + `'; end if; return new; end $$;
				create trigger refuse before update on pgmq.q_order_queue for each row execute function refuse()`)
			h, _ := beating(t, db, q, fetched, time.Minute)
			for range 10 { // what a lease has from its half on, with a tick in a twentieth
				h.look(t.Context(), time.Now().Add(40*time.Second))
			}
			left := h.Held.endingBefore(slices.Collect(maps.Keys(h.Held.deliveries)), time.Now().Add(40*time.Minute))
			if len(left) != 1 || left[0].Message.ID != 7 {
				t.Errorf("%d of %d leases are not extended", len(left), leases)
			}
		})
	}
}

// beating are the heartbeats of what has been fetched, whose leases are of that length. Those that are extended get an hour.
func beating(t *testing.T, db *dbtest.DB, q *queue.Queue, fetched queue.Fetched, length time.Duration) (*Heartbeats, []*Delivery) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	link := pg.NewServer(db.Address(), "one", log, pg.Observer{}).NewLink("heartbeat", nil)
	t.Cleanup(link.Close)
	h := &Heartbeats{
		Link: link, Queue: q, Held: NewSet(len(fetched.Messages)), Term: NewTerm(time.Hour, log), Consumer: "one", Log: log,
		Metrics: metrics.New("test", dbtest.QueueName, "test"),
	}
	deliveries := make([]*Delivery, len(fetched.Messages))
	for i := range deliveries {
		deliveries[i] = New(&fetched.Messages[i].Message, time.Now(), time.Now(), length)
	}
	h.Held.Add(deliveries)
	return h, deliveries
}
