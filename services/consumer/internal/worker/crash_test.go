package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// crashes has a consumer read whatever is due and die, times over: nothing is heard of it again, and the leases run out.
func (b *bundle) crashes(times int) {
	b.t.Helper()
	for range times {
		b.crash(0)
	}
}

// crash is one crash. Before it the start of one message was made known, if there is one with this id.
func (b *bundle) crash(alone int64) {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.t.Context()))
	q := queue.New(dbtest.QueueName, queue.Description{})
	fetched, err := q.Fetch(b.t.Context(), conn, queue.Bounds{Messages: 1000, Bytes: 1 << 30, MessageBytes: 1 << 20}, time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range fetched.Messages {
		if m.ID != alone {
			continue
		}
		if known, err := q.Start(b.t.Context(), conn, queue.EntryOf(&m.Message, true), "dead"); err != nil || !known {
			b.t.Fatal(known, err)
		}
	}
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp()`)
}

// What a consumer held when it died had perhaps not been started: whatever it was, it has all of its attempts.
func TestWhatACrashLeavesBehindHasHadNoAttempt(t *testing.T) {
	b := setup(t)
	ids := b.Publish(20)
	b.crashes(5)
	b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		if m.Attempt <= 2 { // of three
			return errFailed
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 20 {
		t.Fatalf("%+v", a)
	}
	for _, id := range ids {
		if o := b.Order(id); o.Attempts != 3 {
			t.Errorf("order %d has had %d attempts", id, o.Attempts)
		}
	}
}

func TestAMessageThatKillsItsConsumersIsCondemnedAlone(t *testing.T) {
	b := setup(t)
	ids := b.Publish(10)
	b.crashes(2) // in company
	b.crash(ids[3])
	b.crash(ids[3])
	var n tries
	b.start(settings(), handle(func(_ context.Context, m message.Message) error { n.note(m); return nil }))
	if a := b.settled(); a.Completed != 9 || a.Dead != 1 || n.of(ids[3]) != 0 {
		t.Fatalf("%+v, it was tried %d times", a, n.of(ids[3]))
	}
	for _, id := range ids {
		o := b.Order(id)
		switch {
		case id != ids[3] && o.Attempts != 1:
			t.Errorf("order %d has had %d attempts", id, o.Attempts)
		case id == ids[3] && (o.Attempts != 2 || *o.LastError != "the consumer died 2 times while it worked on this order and on nothing else"):
			t.Errorf("%+v %q", o, *o.LastError)
		}
	}
	letter := dbtest.One[string](b.DB, `select format('%s %s', headers->'orderflow-dead'->>'reason', headers->'orderflow-dead'->>'attempts') from pgmq.q_order_queue_dlq`)
	if letter != "crashed 2" {
		t.Error(letter)
	}
}

// The more often in a row a message has had no answer, the fewer are worked on beside it. Nobody else's is held meanwhile, and when it is
// alone its start is known before its handler runs.
func TestSuspectsAreWorkedOnInEverSmallerCompany(t *testing.T) {
	for crashes, test := range map[int]struct {
		most  int // handlers at the same time, of eight
		known bool
	}{0: {8, false}, 1: {4, false}, 2: {1, true}} {
		t.Run(fmt.Sprintf("after %d crashes", crashes), func(t *testing.T) {
			b := setup(t)
			b.Publish(40)
			b.crashes(crashes)
			at, goOn := make(chan struct{}, 40), make(chan struct{})
			var working, most, unknown atomic.Int64
			r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
				for now, seen := working.Add(1), most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
				}
				defer working.Add(-1)
				if known := dbtest.One[bool](b.DB, `select coalesce(headers->'orderflow-started' ? read_ct::text, false) from pgmq.q_order_queue where msg_id = $1`, m.ID); known != test.known {
					unknown.Add(1)
				}
				at <- struct{}{}
				<-goOn
				return nil
			}))
			for range test.most {
				await.Value(t, "a handler starts", at)
			}
			if crashes > 0 {
				await.True(t, "what there is no room for is handed back", func() bool { return r.metric("leases_held") <= float64(test.most*5) })
			}
			if most.Load() > int64(test.most) {
				t.Fatalf("%d at the same time", most.Load())
			}
			close(goOn)
			if a := b.settled(); a.Completed != 40 || most.Load() > int64(test.most) || unknown.Load() != 0 {
				t.Fatalf("%+v; %d at the same time, %d starts were not as known as they should be", a, most.Load(), unknown.Load())
			}
			b.attemptedOnce()
		})
	}
}

// A consumer that was alone with a message and was cut off has not died: when its handler comes back, that is told.
func TestALateAnswerTakesTheCrashBack(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout = 6*time.Second, time.Minute
	id := b.Publish(1)[0]
	b.crashes(2)
	started, ended := make(chan struct{}), make(chan struct{})
	b.start(s, handle(func(ctx context.Context, _ message.Message) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}))
	await.Value(t, "it is worked on", started)
	known := func() int {
		return dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue, jsonb_object_keys(headers->'orderflow-started') where msg_id = $1`, id)
	}
	if known() != 1 {
		t.Fatal("its start is not known")
	}
	b.steal(id)
	await.Value(t, "its handler is cancelled", ended)
	await.True(t, "the answer is told", func() bool { return known() == 0 })
}

// A row that somebody has locked delays the end of an order that was worked on alone, and nothing else.
func TestASuspectWhoseEndCannotBeWrittenKeepsNobodyWaiting(t *testing.T) {
	b := setup(t)
	b.Publish(5)
	b.crashes(2)
	other, err := b.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(t.Context()))
	if _, err := other.Exec(t.Context(), `select from public.orders where id = 1 for update`); err != nil {
		t.Fatal(err)
	}
	b.start(settings(), noop)
	await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 4 })
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := b.settled(); a.Completed != 5 {
		t.Fatalf("%+v", a)
	}
}
