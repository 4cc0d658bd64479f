package chaos

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// soaked is a run of 100 samples in which one measure goes as at says, and the others stand.
func soaked(which int, at func(part float64) float64) Soak {
	var s Soak
	for i := range 100 {
		values := make([]float64, len(lines))
		for j := range values {
			values[j] = 100
		}
		values[which] = at(float64(i) / 99)
		s.Samples = append(s.Samples, Sample{time.Duration(i) * time.Minute, values})
	}
	return s
}

func TestASoakKnowsWhatGrows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		at   func(float64) float64
		flat bool
	}{
		"stands":               {func(float64) float64 { return 100 }, true},
		"falls":                {func(p float64) float64 { return 200 - 100*p }, true},
		"fills once":           {func(p float64) float64 { return 100 * math.Min(1, 3*p) }, true},
		"goes up and down":     {func(p float64) float64 { return 100 + 30*math.Sin(60*p) }, true},
		"grows without end":    {func(p float64) float64 { return 100 + 60*p }, false},
		"grows in small steps": {func(p float64) float64 { return 100 + 5*math.Floor(12*p) }, false},
	} {
		for i, trend := range soaked(0, test.at).Trends() {
			if want := test.flat || i != 0; trend.Flat != want {
				t.Errorf("%s: %+v, want flat %t", name, trend, want)
			}
		}
	}
	for _, trend := range (Soak{}).Trends() {
		if trend.Flat {
			t.Error("nothing was looked at, and it is flat")
		}
	}
	var csv strings.Builder
	if err := soaked(0, func(float64) float64 { return 1 }).WriteCSV(&csv); err != nil || !strings.HasPrefix(csv.String(), "seconds,api_rss_mib,") || strings.Count(csv.String(), "\n") != 101 {
		t.Errorf("%v\n%s", err, csv.String())
	}
}

// At 50 orders a second of some 700 bytes, 200 MiB come in within 100 minutes, and 14 are kept.
func TestASoakSeesALeakOfAThirtiethOfWhatComesIn(t *testing.T) {
	t.Parallel()
	which := slices.IndexFunc(lines, func(m measure) bool { return m.name == "orders_mib" })
	for name, test := range map[string]struct {
		at   func(float64) float64
		flat bool
	}{
		"a thirtieth is never used again":           {func(p float64) float64 { return 14 + 200.0/30*p }, false},
		"one long wait for vacuum in the last part": {func(p float64) float64 { return 14 + math.Floor(p+0.2) }, true},
	} {
		if trend := soaked(which, test.at).Trends()[which]; trend.Flat != test.flat {
			t.Errorf("%s: %+v, want flat %t", name, trend, test.flat)
		}
	}
}
