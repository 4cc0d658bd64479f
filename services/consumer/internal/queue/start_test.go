package queue_test

import (
	"testing"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/queue"
)

// A delivery of which nothing is heard is no attempt, since nobody knows whether a handler had been given it; it is remembered until there
// is an answer.
func TestADeliveryWithoutAnAnswerIsRemembered(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	read := func(unanswered int32, attempt int) []queue.Entry {
		t.Helper()
		b.expire(id)
		got := b.read(1)
		if len(got) != 1 || got[0].Unanswered != unanswered || got[0].Attempt != attempt || got[0].Crashes != 0 {
			t.Fatalf("%+v, want attempt %d after %d deliveries without an answer", got, attempt, unanswered)
		}
		return entries(got...)
	}
	read(0, 1)
	read(1, 1)
	handedBack := read(2, 1)
	b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, handedBack, "test")), id)
	b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, handedBack, "test")), id) // a repetition counts once
	failed := read(2, 1)                                                     // being handed back is no answer to the question
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, failed, "test")), id)
	read(0, 2)
	failed = read(1, 2)
	b.wantIDs(b.confirmed(b.NackMessageOnly(b.ctx, b.conn, failed, "test")), id)
	read(0, 3)
	if o := b.Order(id); o.Attempts != 1 { // NackMessageOnly tells the order nothing
		t.Fatalf("%+v", o)
	}
}

func TestAStartThatIsKnownAndHasNoAnswerIsAnAttempt(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	start := func(attempt int, crashes int32) queue.Entry {
		t.Helper()
		b.expire(id)
		got := b.read(1)
		if len(got) != 1 || got[0].Attempt != attempt || got[0].Crashes != crashes {
			t.Fatalf("%+v, want attempt %d after %d crashes", got, attempt, crashes)
		}
		e := queue.EntryOf(&got[0], true)
		for range 2 { // a repetition counts once
			if known, err := b.Start(b.ctx, b.conn, e, me); err != nil || !known {
				t.Fatal(known, err)
			}
		}
		return e
	}
	first := start(1, 0)
	second := start(2, 1)
	third := start(3, 2)
	if known, err := b.Start(b.ctx, b.conn, second, me); err != nil || known {
		t.Fatalf("known %t under a lease that is lost (%v)", known, err)
	}
	b.wantIDs(b.confirmed(b.Nack(b.ctx, b.conn, []queue.Entry{third}, "test")), id)
	if known, err := b.Start(b.ctx, b.conn, third, me); err != nil || known {
		t.Fatalf("known %t after it has failed (%v)", known, err)
	}
	if o := b.Order(id); o.Attempts != 3 {
		t.Fatalf("%+v", o)
	}
	fourth := start(4, 2) // two that died, and one that failed
	// The first two had not died, but been cut off.
	b.wantIDs(b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{first}, "test")), id)
	b.wantIDs(b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{first}, "test")))
	b.wantIDs(b.confirmed(b.Late(b.ctx, b.conn, []queue.Entry{second}, "test")), id)
	b.wantIDs(b.confirmed(b.Release(b.ctx, b.conn, []queue.Entry{fourth}, "test")), id)
	if known, err := b.Start(b.ctx, b.conn, fourth, me); err != nil || known {
		t.Fatalf("known %t after it has been handed back (%v)", known, err)
	}
	fifth := start(2, 0)
	fifth.Reason, fifth.Error = "crashed", "enough"
	b.wantIDs(b.confirmed(b.Bury(b.ctx, b.conn, []queue.Entry{fifth}, me)), id)
	if left := dbtest.All[string](b.DB, `select h from pgmq.q_order_queue_dlq, jsonb_object_keys(headers) as h where h like 'orderflow-%'`); len(left) != 1 {
		t.Fatalf("the dead letter has %v", left)
	}
}
