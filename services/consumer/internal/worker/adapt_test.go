package worker_test

import (
	"context"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
)

// A consumer whose handlers were quick holds hundreds of messages when they become slow. It keeps those that it will soon work on, and the
// others are there for other consumers, without an attempt.
func TestWhatWasReadForQuickHandlersIsHandedBackWhenTheyBecomeSlow(t *testing.T) {
	b := setup(t)
	const quick = 1000
	b.Publish(4000)
	s := settings()
	s.Batch, s.Concurrency = 0, 1
	c := b.start(s, handle(func(_ context.Context, m message.Message) error {
		if m.OrderID > quick {
			<-time.After(20 * time.Millisecond) // what it does takes so long
		}
		return nil
	}))
	await.True(t, "messages are handed back", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where headers ? 'orderflow-released'`) > 0
	})
	await.True(t, "it holds no more than it works on within a second", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt > clock_timestamp()`) <= 50
	})
	c.stop()
	if n := dbtest.One[int](b.DB, `select count(*) from public.orders where attempts > 1 or effects > 1`); n > 0 {
		t.Errorf("%d orders with more than an attempt", n)
	}
}
