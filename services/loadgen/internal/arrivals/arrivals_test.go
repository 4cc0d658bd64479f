package arrivals_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"orderflow.example/services/loadgen/internal/arrivals"
)

func TestStagesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	var s arrivals.Stages
	if err := s.Decode(" 30s:100, 2m:1000,30s:0 "); err != nil {
		t.Fatal(err)
	}
	if s.String() != "30s:100,2m0s:1000,30s:0" {
		t.Fatalf("got %s", s)
	}
	p := arrivals.NewProfile(0, s)
	if p.Length() != 3*time.Minute || p.Peak() != 1000 || p.Total() != 30*50+120*550+30*500 {
		t.Fatalf("length %s, peak %g, total %g", p.Length(), p.Peak(), p.Total())
	}
}

func TestWrongStagesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"5", "30s", "x:1", "30s:x", "-1s:5", "0s:5", "1s:-5", "1s:NaN", "1s:1e9", "1s:1,,2s:1", "9000h:1", "1s:Inf"} {
		var s arrivals.Stages
		if err := s.Decode(text); err == nil || len(s) != 0 {
			t.Errorf("%q was taken as %v", text, s)
		}
	}
}

func FuzzStages(f *testing.F) {
	for _, seed := range []string{"30s:100,2m:1000,30s:0", "", "1h:1e3", "1ns:0.5", "1s:1:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again arrivals.Stages
		if s.Decode(text) != nil {
			return
		}
		if err := again.Decode(s.String()); err != nil || again.String() != s.String() {
			t.Fatalf("%q is written as %q: %v", text, s, err)
		}
		p := arrivals.NewProfile(0, s)
		if total := p.Total(); math.IsNaN(total) || total < 0 || p.Length() < 0 {
			t.Fatalf("%q: total %g, length %s", text, total, p.Length())
		}
	})
}

// When the n-th arrival is due and the area under the rate until then say the same.
func TestProfileInverts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var stages arrivals.Stages
		for range rapid.IntRange(1, 6).Draw(t, "stages") {
			stages = append(stages, arrivals.Stage{
				Duration: time.Duration(rapid.IntRange(1, 600_000).Draw(t, "ms")) * time.Millisecond,
				Rate:     rapid.SampledFrom([]float64{0, 0.5, 10, 333, 10_000}).Draw(t, "rate"),
			})
		}
		from := rapid.SampledFrom([]float64{0, 7, 2000}).Draw(t, "from")
		p := arrivals.NewProfile(from, stages)
		if p.Total() < 1 {
			return
		}
		n := rapid.Float64Range(0, p.Total()*0.999999).Draw(t, "n")
		at, ok := p.At(n)
		if !ok || at < 0 || at > p.Length() {
			t.Fatalf("arrival %g of %g: %s of %s, %v", n, p.Total(), at, p.Length(), ok)
		}
		due, rest := 0.0, at
		for _, s := range stages {
			part := min(rest, s.Duration)
			end := from + (s.Rate-from)*part.Seconds()/s.Duration.Seconds()
			due += (from + end) / 2 * part.Seconds()
			from, rest = s.Rate, rest-part
		}
		// Due times are whole nanoseconds; at the highest rate that is this much of an arrival.
		if math.Abs(due-n) > 1e-4+n*1e-6 {
			t.Fatalf("arrival %g is due at %s, when %g are", n, at, due)
		}
	})
}

// The schedule holds the rate exactly: by any moment as many arrivals are due as the area under the rate.
func TestEvenScheduleKeepsTheRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{10, 100, 1000, 10_000} {
		s := arrivals.NewSchedule(arrivals.Constant(rate, 3*time.Second), 1)
		n, last := 0, time.Duration(-1)
		for at, ok := s.Next(); ok; at, ok = s.Next() {
			if at <= last {
				t.Fatalf("%g/s: arrival %d at %s after %s", rate, n, at, last)
			}
			last = at
			n++
		}
		if n != int(3*rate) || last != 3*time.Second-time.Duration(1e9/rate) {
			t.Fatalf("%g/s: %d arrivals, the last at %s", rate, n, last)
		}
	}
}

func TestBatchesKeepTheRateInOrders(t *testing.T) {
	t.Parallel()
	s := arrivals.NewSchedule(arrivals.Constant(1000, time.Second), 50)
	n := 0
	for _, ok := s.Next(); ok; _, ok = s.Next() {
		n++
	}
	if n != 20 {
		t.Fatalf("%d batches of 50 for 1000 orders", n)
	}
}

func TestPoissonScheduleIsRepeatableAndKeepsTheRate(t *testing.T) {
	t.Parallel()
	var stages arrivals.Stages
	if err := stages.Decode("10s:1000,10s:1000,10s:0"); err != nil {
		t.Fatal(err)
	}
	p := arrivals.NewProfile(0, stages)
	a, b := arrivals.NewPoissonSchedule(p, 1, 42), arrivals.NewPoissonSchedule(p, 1, 42)
	n, gaps, last := 0, 0, time.Duration(0)
	for {
		x, okX := a.Next()
		y, okY := b.Next()
		if x != y || okX != okY {
			t.Fatalf("the same seed gave %s and %s", x, y)
		}
		if !okX {
			break
		}
		if x-last > 3*time.Millisecond && x > 10*time.Second && x < 20*time.Second {
			gaps++ // three times the mean gap: e^-3 of them
		}
		last = x
		n++
	}
	// 20,000 expected with a standard deviation of 141; the seed is fixed, so this cannot fail by chance later.
	if math.Abs(float64(n)-20_000) > 5*141 {
		t.Fatalf("%d arrivals of 20000", n)
	}
	if share := float64(gaps) / 10_000; math.Abs(share-math.Exp(-3)) > 0.01 {
		t.Fatalf("%.3f of the gaps are three times the mean, of %.3f", share, math.Exp(-3))
	}
}

// timerWait is WaitUntil on the test's clock.
func timerWait(ctx context.Context, until time.Time) bool {
	select {
	case <-time.After(time.Until(until)):
		return true
	case <-ctx.Done():
		return false
	}
}

func TestPacerHandsEachArrivalOverWhenItIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := arrivals.Pacer{Schedule: arrivals.NewSchedule(arrivals.Constant(100, time.Second), 1), Wait: timerWait}
		n := p.Run(t.Context(), start, func(a arrivals.Arrival) bool {
			want := start.Add(time.Duration(a.Seq) * 10 * time.Millisecond)
			if !a.Due.Equal(want) || !time.Now().Equal(want) {
				t.Errorf("arrival %d: due %s, handed over %s", a.Seq, a.Due.Sub(start), time.Since(start))
			}
			return true
		})
		if n != 100 {
			t.Errorf("%d arrivals", n)
		}
	})
}

// Whoever takes the arrivals may be slow: none is skipped, and each keeps the time that it was due at.
func TestPacerCatchesUpWithoutShiftingDueTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := arrivals.Pacer{Schedule: arrivals.NewSchedule(arrivals.Constant(100, time.Second), 1), Wait: timerWait}
		n := p.Run(t.Context(), start, func(a arrivals.Arrival) bool {
			if want := start.Add(time.Duration(a.Seq) * 10 * time.Millisecond); !a.Due.Equal(want) {
				t.Errorf("arrival %d: due %s", a.Seq, a.Due.Sub(start))
			}
			if a.Seq == 30 {
				<-time.After(500 * time.Millisecond)
			}
			if a.Seq > 30 && a.Seq <= 80 && time.Since(start) != 800*time.Millisecond {
				t.Errorf("arrival %d was handed over after %s", a.Seq, time.Since(start))
			}
			return true
		})
		if n != 100 || time.Since(start) != 990*time.Millisecond {
			t.Errorf("%d arrivals in %s", n, time.Since(start))
		}
	})
}

func TestPacerStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 55*time.Millisecond)
		defer cancel()
		p := arrivals.Pacer{Schedule: arrivals.NewSchedule(arrivals.Constant(100, 0), 1), Wait: timerWait}
		if n := p.Run(ctx, time.Now(), func(arrivals.Arrival) bool { return true }); n != 6 {
			t.Errorf("%d arrivals in 55 ms at 100/s", n)
		}
	})
}

func TestWaitUntilIsNeverEarly(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{-time.Second, 0, 200 * time.Microsecond, 5 * time.Millisecond} {
		until := time.Now().Add(d)
		if !arrivals.WaitUntil(t.Context(), until) || time.Now().Before(until) {
			t.Fatalf("%s: early by %s", d, time.Until(until))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if arrivals.WaitUntil(ctx, time.Now().Add(time.Hour)) {
		t.Fatal("waited for an hour with a context that had ended")
	}
}
