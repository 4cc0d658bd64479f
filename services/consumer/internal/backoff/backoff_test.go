package backoff

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheBoundGrowsToTheCapAndNoFurther(t *testing.T) {
	t.Parallel()
	p := Policy{Base: time.Second, Max: time.Minute, Multiplier: 2}
	for attempt, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 7: time.Minute, 1 << 30: time.Minute,
	} {
		if got := p.Bound(attempt); got != want {
			t.Errorf("attempt %d: %s, want %s", attempt, got, want)
		}
	}
}

func TestDelaysStayWithinTheirBoundAndUseAllOfIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "base"))
		p := Policy{
			Base:       base,
			Max:        base + time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "more")),
			Multiplier: rapid.Float64Range(1, 10).Draw(t, "multiplier"),
		}
		attempt := rapid.IntRange(-1, 1000).Draw(t, "attempt")
		bound := p.Bound(attempt)
		if bound < p.Base || bound > p.Max || bound < p.Bound(attempt-1) {
			t.Fatalf("bound %s", bound)
		}
		lower := 0
		for range 64 {
			d := p.Delay(attempt)
			if d < 0 || d > bound {
				t.Fatalf("delay %s beyond %s", d, bound)
			}
			if d <= bound/2 {
				lower++
			}
		}
		if lower == 0 || lower == 64 && bound > 1 {
			t.Fatalf("%d of 64 delays in the lower half: that is no full jitter", lower)
		}
	})
}
