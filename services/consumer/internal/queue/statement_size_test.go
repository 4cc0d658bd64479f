package queue_test

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// Statements grow again where one that had all it might was well within its time, and never beyond the most.
func TestHowLargeTheNextStatementIs(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1000: 500, 3: 1, 2: 1, 1: 1000} {
		if got := queue.Less(1000, n); got != want {
			t.Errorf("after one about %d that took too long: %d", n, got)
		}
	}
	for name, test := range map[string]struct {
		size, n int
		took    time.Duration
		want    int
	}{
		"quick, and full":      {80, 80, time.Millisecond, 91},
		"the smallest":         {1, 1, time.Millisecond, 2},
		"up to the most":       {99, 99, time.Millisecond, 100},
		"about more than that": {80, 90, time.Millisecond, 91},
		"quick, and not full":  {80, 79, time.Millisecond, 80},
		"full, and slow":       {80, 80, 2 * time.Second, 80},
		"slow, and small":      {64, 64, 2 * time.Second, 73},
	} {
		if got := queue.More(test.size, test.n, test.took, 3*time.Second, 100); got != test.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
