package queue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/queue"
)

// old publishes n orders whose messages became due one after the other, the first of them an hour ago.
func (b *bundle) old(n int) {
	b.t.Helper()
	b.Publish(n)
	b.Exec(`update pgmq.q_order_queue set vt = now() - interval '1 hour' + msg_id * interval '1 second'`)
}

// ids leases up to n messages, with what the front says or without, and returns their ids.
func (b *bundle) ids(n int, front bool) []int64 {
	b.t.Helper()
	want := bounds(n)
	want.Front = front
	got, err := b.Fetch(b.ctx, b.conn, want, time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	ids := []int64{}
	for _, m := range got.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// front is the due time that the front tells.
func (b *bundle) front() time.Time {
	b.t.Helper()
	return dbtest.One[time.Time](b.DB, `select to_timestamp(last_value / 1e6) from orderflow.front_order_queue`)
}

func (b *bundle) due(id int64) time.Time {
	b.t.Helper()
	return dbtest.One[time.Time](b.DB, `select vt from pgmq.q_order_queue where msg_id = $1`, id)
}

func TestAReadAtTheFrontPassesOverWhatIsBefore(t *testing.T) {
	b := setup(t)
	b.old(40)
	tenth := b.due(10)
	if got := b.ids(10, false); len(got) != 10 || got[9] != 10 {
		t.Fatalf("read %v", got)
	}
	if at := b.front(); !at.Equal(tenth) {
		t.Fatalf("the front is at %s, want %s: where the read has come to", at, tenth)
	}
	b.Exec(`update pgmq.q_order_queue set vt = now() - interval '1 hour' where msg_id = 3`) // as if it had been given back in its place
	if got := b.ids(10, true); len(got) != 10 || got[0] != 11 {
		t.Fatalf("read %v, want 11 to 20", got)
	}
	at := b.front()
	if got := b.ids(1, false); len(got) != 1 || got[0] != 3 {
		t.Fatalf("read %v, want what is before the front", got)
	}
	if now := b.front(); !now.Equal(at) {
		t.Fatalf("the front has gone from %s to %s, for one message", at, now)
	}
	if got := b.ids(10, true); len(got) != 10 || got[0] != 21 {
		t.Fatalf("read %v, want 21 to 30", got)
	}
	// One from the beginning that has found more moves it back, and all go on from there.
	b.Exec(`update pgmq.q_order_queue set vt = now() - interval '2 hours' + msg_id * interval '1 second' where msg_id <= 15`)
	b.ids(10, false)
	if got := b.ids(10, true); len(got) != 10 || got[0] != 11 || got[9] != 35 {
		t.Fatalf("read %v, want 11 to 15 and 31 to 35", got)
	}
}

// What is committed within a second of its due time is found by every read.
func TestTheFrontIsNotBelievedWithinTheLastSecond(t *testing.T) {
	b := setup(t)
	b.old(20)
	// Far ahead, as a clock that has been put back would leave it.
	b.Exec(`select setval('orderflow.front_order_queue', (extract(epoch from clock_timestamp() + interval '1 day') * 1e6)::bigint)`)
	if got := b.ids(10, true); len(got) != 10 || got[0] != 1 {
		t.Fatalf("read %v, want 1 to 10", got)
	}
	b.Exec(`select setval('orderflow.front_order_queue', (extract(epoch from clock_timestamp() - interval '2 seconds') * 1e6)::bigint)`)
	if got := b.ids(10, true); len(got) != 0 {
		t.Fatalf("read %v before the front", got)
	}
}

// Others see where a read has come to before its transaction has ended: they would walk over all that it locks otherwise.
func TestTheFrontMovesBeforeTheReadIsCommitted(t *testing.T) {
	b := setup(t)
	b.old(20)
	other := open(t, b.DB)
	tenth := b.due(10)
	tx, err := other.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The read looks for the orders, after the lease and before the commit.
	if _, err := tx.Exec(t.Context(), `lock table public.orders in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	type result struct {
		n   int
		err error
	}
	read := make(chan result, 1)
	go func() {
		got, err := b.Fetch(b.ctx, b.conn, bounds(10), time.Hour)
		read <- result{len(got.Messages), err}
	}()
	third := open(t, b.DB)
	await.True(t, "the read waits for the orders", func() bool {
		return dbtest.One[int](third.DB, `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`) == 1
	})
	if at := third.front(); !at.Equal(tenth) {
		t.Errorf("the front is at %s, want %s", at, tenth)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := await.Value(t, "the read", read); got.n != 10 || got.err != nil {
		t.Errorf("read %+v", got)
	}
}

// Messages that are due since ever, as pgmq.set_vt can make them, are read and do not stop the front.
func TestMessagesDueSinceEverMoveTheFrontToo(t *testing.T) {
	b := setup(t)
	b.old(20)
	b.Exec(`update pgmq.q_order_queue set vt = '-infinity'`)
	if got := b.ids(10, false); len(got) != 10 {
		t.Fatalf("read %v", got)
	}
	if got := b.ids(10, true); len(got) != 0 {
		t.Fatalf("read %v at the front", got)
	}
	if got := b.ids(10, false); len(got) != 10 {
		t.Fatalf("read %v", got)
	}
}

// A queue without a front, as in a database that somebody else has made, and one whose front we may not move, are read all the same.
func TestAQueueWithoutAFrontIsRead(t *testing.T) {
	b := setup(t)
	b.old(40)
	b.Exec(`drop sequence orderflow.front_order_queue`)
	without := open(t, b.DB)
	d, err := without.Describe(t.Context(), without.conn)
	if err != nil || d.Front || !d.Ready() {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := without.ids(20, false); len(got) != 20 {
		t.Fatalf("read %v", got)
	}
	if got := without.ids(20, true); len(got) != 20 {
		t.Fatalf("read %v", got)
	}
}

func TestAFrontIsUsedOnlyWithTheRightTo(t *testing.T) {
	b := setup(t)
	role := "reader_" + strings.ToLower(dbtest.One[string](b.DB, `select replace(current_database(), '-', '_')`))
	b.Exec(`create role ` + role)
	t.Cleanup(func() { b.Exec(`drop owned by ` + role); b.Exec(`drop role ` + role) })
	b.Exec(`grant usage on schema public, pgmq to ` + role)
	b.Exec(`grant select on public.orderflow_migrations to ` + role)
	if _, err := b.conn.Exec(t.Context(), `set role `+role); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		sql  string
		want bool
	}{
		{`grant usage on schema orderflow to `, false},
		{`grant select on sequence orderflow.front_order_queue to `, false},
		{`grant update on sequence orderflow.front_order_queue to `, true},
		{`revoke usage on schema orderflow from `, false},
	} {
		b.Exec(step.sql + role)
		d, err := queue.New(dbtest.QueueName, queue.Description{}).Describe(t.Context(), b.conn)
		if err != nil || d.Front != step.want {
			t.Errorf("after %s: %+v, %v", step.sql, d, err)
		}
	}
}

// A read that begins at a watermark is not from the beginning: it must not move the front back over what another one has found before.
func TestAReadFromAWatermarkMovesTheFrontAheadOnly(t *testing.T) {
	b := setup(t)
	b.old(40)
	b.ids(30, false)
	at := b.front()
	b.Exec(`update pgmq.q_order_queue set vt = now() - interval '1 hour' + msg_id * interval '1 second' where msg_id <= 15`)
	if got, err := b.Fetch(b.ctx, b.conn, bounds(10, time.Now().Add(-2*time.Hour)), time.Hour); err != nil || len(got.Messages) != 10 || got.Messages[0].ID != 1 {
		t.Fatalf("read %+v, %v", got, err)
	}
	if now := b.front(); !now.Equal(at) {
		t.Errorf("the front has gone from %s to %s", at, now)
	}
}
