package queue_test

import (
	"slices"
	"testing"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/queue"
)

// All that can become of four deliveries, in every order: of a message as the api sends it and of one that another program has sent, whose
// first reads are counted in different ways.
func TestDeliveriesWithoutAnAnswerAreCountedWhoeverElseReads(t *testing.T) {
	const (
		silent = iota // read by us, without an answer
		failed
		released
		others // read by another program
		kinds
		steps = 4
	)
	variants := 1
	for range steps {
		variants *= kinds
	}
	kind := func(variant, step int) int {
		for range step {
			variant /= kinds
		}
		return variant % kinds
	}
	for name, lastRead := range map[string]bool{"with last_read_at": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`alter table pgmq.q_order_queue add column if not exists last_read_at timestamptz`)
			b.Queue = queue.New(dbtest.QueueName, queue.Description{LastRead: lastRead})
			ids := b.Publish(2 * variants)
			b.Exec(`update pgmq.q_order_queue set enqueued_at = now() where msg_id > $1`, variants) // by another program
			variant := map[int64]int{}
			for i, id := range ids {
				variant[id] = i % variants
			}
			unanswered := map[int64]int32{}
			read := func(of []int64) []queue.Entry {
				t.Helper()
				b.Exec(`update pgmq.q_order_queue set vt = case when msg_id = any ($1) then now() else 'infinity' end`, of)
				got := b.read(len(ids))
				if len(got) != len(of) {
					t.Fatalf("%d messages of %d", len(got), len(of))
				}
				for _, m := range got {
					if m.Unanswered != unanswered[m.ID] {
						t.Fatalf("message %d, variant %d: read after %d deliveries without an answer, which were %d", m.ID, variant[m.ID], m.Unanswered, unanswered[m.ID])
					}
				}
				return entries(got...)
			}
			for step := range steps {
				of := make([][]int64, kinds)
				for _, id := range ids {
					k := kind(variant[id], step)
					of[k] = append(of[k], id)
				}
				read(of[silent])
				for _, id := range of[silent] {
					unanswered[id]++
				}
				b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, read(of[failed]), "test")), of[failed]...)
				for _, id := range of[failed] {
					unanswered[id] = 0
				}
				b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, read(of[released]), "test")), of[released]...)
				b.Exec(`update pgmq.q_order_queue set vt = case when msg_id = any ($1) then now() else 'infinity' end`, of[others])
				if n := dbtest.One[int](b.DB, `select count(*) from pgmq.read('order_queue', 60, $1)`, len(ids)); n != len(of[others]) {
					t.Fatalf("another program has read %d of %d", n, len(of[others]))
				}
			}
			read(slices.Clone(ids))
		})
	}
}

// What lies behind the message in a row makes that row be logged whole when it changes.
func TestAFirstReadLeavesTheHeadersAsTheyAre(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	row := `select format('%s %s %s', message, headers, to_jsonb(q) -> 'last_read_at') from pgmq.q_order_queue as q where msg_id = $1`
	sent := dbtest.One[string](b.DB, row, id)
	if got := b.read(1); len(got) != 1 || got[0].Traceparent == "" {
		t.Fatalf("%+v", got)
	}
	if now := dbtest.One[string](b.DB, row, id); now != sent {
		t.Errorf("a first read has made\n%s of\n%s", now, sent)
	}
	b.expire(id)
	if got := b.read(1); len(got) != 1 || got[0].Unanswered != 1 {
		t.Fatalf("%+v", got)
	}
}
