package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/worker"
)

// What was read together is written together, if its handlers do not take long, and not in a statement for each result.
func TestWhatWasReadTogetherIsAckedTogether(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	waiting := make(chan struct{}, 3)
	release := make(chan struct{})
	r := b.startOn(b.URL, settings(), handle(func(context.Context, message.Message) error {
		waiting <- struct{}{}
		<-release
		return nil
	}), func(c *worker.Consumer) { c.PauseBeforeAcks(time.Minute) })
	for range 3 {
		await.Value(t, "all handlers run", waiting)
	}
	for range 3 {
		release <- struct{}{}
	}
	b.settled()
	r.stop()
	if n := r.metric("settle_batch_size"); n != 1 {
		t.Errorf("%v statements for the results of one read", n)
	}
}

// A result waits for others no longer than is worth it: while one handler takes its time, the others' orders are completed.
func TestAResultDoesNotWaitForASlowHandler(t *testing.T) {
	b := setup(t)
	ids := b.Publish(3)
	release := make(chan struct{})
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		if m.OrderID == ids[0] {
			<-release
		}
		return nil
	}))
	await.True(t, "the other orders are completed", func() bool {
		return b.Order(ids[1]).Status == "completed" && b.Order(ids[2]).Status == "completed"
	})
	close(release)
	b.settled()
	r.stop()
}

// A read that was cut short for want of memory is followed by another one at once, and not when it is time to look again.
func TestAReadThatMemoryCutsShortGoesOn(t *testing.T) {
	b := setup(t)
	ids := b.Publish(300) // once a second there is a look, since it is time for a report: in vain all is waited for that long
	b.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('note', repeat(md5(msg_id::text), 60))`)
	s := settings()
	s.HeldBytes = 1 << 10
	r := b.startOn(b.URL, s, handle(func(_ context.Context, m message.Message) error {
		if !strings.Contains(string(m.Body), "note") {
			t.Errorf("%s", m.Body)
		}
		return nil
	}), func(c *worker.Consumer) { c.PauseBetweenLooks(time.Hour) })
	if a := b.settled(); a.Completed != len(ids) {
		t.Errorf("%+v", a)
	}
	r.stop()
}
