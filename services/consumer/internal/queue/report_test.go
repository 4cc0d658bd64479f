package queue_test

import (
	"math"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// The api reads what is counted here by the same rule: see Latency.
func TestATimeIsCountedInThirdsOfPowersOfTwo(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for took, want := range map[time.Duration]int{
		-time.Hour: 0, 0: 0, ms: 0, 2 * ms: 3, 1024 * ms: 30, 1025 * ms: 31, time.Hour: 66, 100 * time.Hour: 66,
	} {
		if got := queue.LatencyBucket(took); got != want {
			t.Errorf("%s is counted in element %d, want %d", took, got, want)
		}
	}
	for _, took := range []time.Duration{1100 * time.Microsecond, 1500 * time.Microsecond, 3 * ms, 5 * ms, 100 * ms, time.Second, time.Minute, 69 * time.Minute} {
		i := queue.LatencyBucket(took)
		above, upTo := math.Exp2(float64(i-1)/3), math.Exp2(float64(i)/3)
		if got := float64(took) / float64(ms); got <= above || got > upTo {
			t.Errorf("%s is counted in element %d, of %v to %v ms", took, i, above, upTo)
		}
	}
}
