package wait_test

import (
	"context"
	"testing"
	"time"

	"orderflow.example/kit/wait"
)

func TestWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	if !wait.For(t.Context(), time.Nanosecond) {
		t.Error("the time is over, and it says that the context was")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if wait.For(ctx, time.Hour) {
		t.Error("the context is over, and it says that the time was")
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	t.Parallel()
	p := wait.Pauses{First: 10 * time.Millisecond, Longest: 50 * time.Millisecond}
	for range 3 {
		for i, ms := range []int{10, 20, 40, 50, 50} {
			pause := time.Duration(ms) * time.Millisecond
			if got := p.Next(); got < pause/2 || got > pause {
				t.Errorf("pause %d is %v, not about %v", i, got, pause)
			}
		}
		p.Reset()
	}
}

func TestPausesGoFromFiftyMillisecondsToASecond(t *testing.T) {
	t.Parallel()
	var p wait.Pauses
	for i := range 20 {
		d := p.Next()
		if d < 25*time.Millisecond || d > time.Second || i == 0 && d > 50*time.Millisecond || i > 5 && d < 500*time.Millisecond {
			t.Fatalf("pause %d is %v", i, d)
		}
	}
}

// Those who failed together come back apart.
func TestPausesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 20 {
		p := wait.Pauses{First: time.Second, Longest: time.Second}
		seen[p.Next()] = true
	}
	if len(seen) < 2 {
		t.Errorf("all are %v", seen)
	}
}
