package fetch

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
)

// settled are the messages that a Settler was given because no handler will be.
type settled struct {
	Settler
	ids []int64
}

func (s *settled) Settle(d *lease.Delivery, what ending.Event) {
	if _, ok := what.(ending.Unstarted); ok {
		s.ids = append(s.ids, d.Message.ID)
	}
}

// What no worker takes is handed back, once each; what another consumer has by now is not ours to hand back.
func TestWhatNoWorkerTakesIsHandedBack(t *testing.T) {
	t.Parallel()
	held, back := lease.NewSet(1), &settled{}
	gate := gating.New(gating.Settings{Concurrency: 1}, slog.New(slog.DiscardHandler), metrics.New("test", "order_queue", "test"))
	b := NewBuffer(3, held, gate, back)
	deliveries := make([]*lease.Delivery, 5)
	for i := range deliveries {
		deliveries[i] = lease.New(&message.Message{ID: int64(i + 1)}, time.Now(), time.Now(), time.Hour)
	}
	held.Add(deliveries)
	for _, d := range deliveries[:3] {
		b.put(t.Context(), d)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	b.put(ended, deliveries[3])
	if want := []int64{4}; !slices.Equal(back.ids, want) {
		t.Fatalf("%v were handed back when the fetcher had to end, want %v", back.ids, want)
	}
	b.releaseOldest(1)
	if d := <-b.Waiting(); d != deliveries[1] {
		t.Fatalf("message %d is next: those that have waited longest go first", d.Message.ID)
	}
	held.Decide(deliveries[2], lease.Leaving) // somebody else has ended it
	b.ReleaseAll()
	if want := []int64{4, 1}; !slices.Equal(back.ids, want) {
		t.Fatalf("%v were handed back, want %v", back.ids, want)
	}
}
