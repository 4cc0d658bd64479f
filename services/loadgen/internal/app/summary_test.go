package app

import (
	"math"
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/measure"
)

// The intended rate is the schedule's, the achieved one that of what was sent in the time it took, and the schedule was kept as far as all that was
// due was sent, and without delay. Independent customers come more often than intended or less; that is no deviation.
func TestRates(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	for name, test := range map[string]struct {
		due, requests            int64
		bulk                     int
		lastDue, lastSent        time.Time
		intended, achieved, kept float64
	}{
		"as planned":                    {due: 100, requests: 100, bulk: 1, lastDue: at(0.99), lastSent: at(0.99), intended: 100, achieved: 100, kept: 1},
		"in batches":                    {due: 10, requests: 10, bulk: 10, lastDue: at(0.9), lastSent: at(0.9), intended: 100, achieved: 100, kept: 1},
		"the last one comes early":      {due: 100, requests: 100, bulk: 1, lastDue: at(0.79), lastSent: at(0.79), intended: 100, achieved: 125, kept: 1},
		"half a second late at the end": {due: 100, requests: 100, bulk: 1, lastDue: at(0.99), lastSent: at(1.49), intended: 100, achieved: 100 / 1.5, kept: 1 / 1.5},
		"half was dropped":              {due: 100, requests: 50, bulk: 1, lastDue: at(0.99), lastSent: at(0.99), intended: 100, achieved: 50, kept: 0.5},
		"nothing was sent":              {due: 100, lastDue: at(0.99), bulk: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			snap := measure.Snapshot{Totals: measure.Totals{Due: test.due, Requests: test.requests}, LastDue: test.lastDue, LastSent: test.lastSent}
			intended, achieved, kept := rates(arrivals.Constant(100, time.Minute), test.bulk, start, &snap)
			for what, x := range map[string][2]float64{"intended": {intended, test.intended}, "achieved": {achieved, test.achieved}, "kept": {kept, test.kept}} {
				if math.Abs(x[0]-x[1]) > 1e-6 {
					t.Errorf("%s: %g, want %g", what, x[0], x[1])
				}
			}
		})
	}
}
