package worker_test

import (
	"context"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// What is sent to others as an order's key is one and the same for every attempt and every redrive; the order that gets the same id
// after a restore has another.
func TestAnOrderHasOneKeyForEver(t *testing.T) {
	b := setup(t)
	b.Snapshot()
	keys := make(chan string, 10)
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		keys <- m.OrderKey()
		switch len(keys) {
		case 1:
			return errFailed
		case 2:
			return handler.Permanent(errFailed)
		}
		return nil
	}))
	b.Publish(1)
	await.True(t, "it is a dead letter", func() bool { return b.Audit().Letters == 1 })
	if n := dbtest.One[int](b.DB, `select count(*) from orderflow.redrive('order_queue', array(select msg_id from pgmq.q_order_queue_dlq))`); n != 1 {
		t.Fatalf("%d redriven", n)
	}
	if a := b.settled(); a.Completed != 1 || len(keys) != 3 {
		t.Fatalf("%+v after %d attempts", a, len(keys))
	}
	b.Restore()
	b.Publish(1)
	if a := b.settled(); a.Completed != 1 || len(keys) != 4 {
		t.Fatalf("%+v after %d attempts", a, len(keys))
	}
	r.stop()
	first, second, redriven, other := <-keys, <-keys, <-keys, <-keys
	if first != second || second != redriven || other == first {
		t.Errorf("keys of three attempts at one order: %s, %s, %s; of the order with its id after a restore: %s", first, second, redriven, other)
	}
	var none message.Installation
	if id := dbtest.One[message.Installation](b.DB, `select id from orderflow.installation`); id == none {
		t.Error("the installation has no name")
	}
}
