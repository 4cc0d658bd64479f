package queue

import (
	"testing"
	"time"
)

// What was sent, and neither lies in the queue nor went to the dead letters, was completed.
func TestWhatDiesIsNotCompleted(t *testing.T) {
	t.Parallel()
	var before, now Snapshot
	before.AsOf.Time = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	before.Depth, before.EnqueuedTotal, before.deadTotal = 7, 100, 40
	now.AsOf.Time = before.AsOf.Add(2 * time.Second)
	now.Depth, now.EnqueuedTotal, now.deadTotal = 9, 110, 43
	got := rates(&before, &now)
	if got.EnqueuedPerSecond == nil || *got.EnqueuedPerSecond != 5 || got.CompletedPerSecond == nil || *got.CompletedPerSecond != 2.5 {
		t.Errorf("10 were sent in two seconds, of which 2 are in the queue and 3 are dead: %+v", got)
	}
}

// Looking costs the database a tenth of a core at most, however long the queue is, and however many ask.
func TestALookThatTakesLongIsTakenSeldom(t *testing.T) {
	t.Parallel()
	for took, least := range map[time.Duration]time.Duration{0: time.Second, 2 * time.Second: 20 * time.Second} {
		w := NewWatcher(nil)
		w.looked(&look{done: make(chan struct{})}, time.Now().Add(-took), &Snapshot{}, nil)
		if next := w.expires.Sub(w.taken); next < least {
			t.Errorf("after a look that took %v the next one comes after %v", took, next)
		}
		w.Close()
	}
}
