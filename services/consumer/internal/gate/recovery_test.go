package gate

import (
	"math"
	"testing"
	"time"
)

// How far a recovery goes depends on what is known of the time before: what the consumers did bounds it; what only arrives, or a quiet time,
// does not for long.
func TestHowFarARecoveryGoes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		normal       float64
		rated        []string
		after        time.Duration
		least, most  float64
		arrivals     int64 // messages that come in each second
		arrivesAfter time.Duration
	}{
		"the normal rate is known":                      {normal: 200, rated: []string{"a"}, after: 10 * time.Second, least: 200, most: 400},
		"it still is after an hour":                     {normal: 200, rated: []string{"a"}, after: time.Hour, least: 200, most: 400},
		"nothing is known":                              {after: 8 * time.Second, least: 2000, most: math.Inf(1)},
		"it was quiet: slowly at first":                 {normal: 1, rated: []string{"a"}, after: 3 * time.Second, least: 5, most: 20},
		"it was quiet: twice as much every two seconds": {normal: 1, rated: []string{"a"}, after: 11 * time.Second, least: 100, most: 400},
		"it was quiet, and much waits":                  {normal: 1, rated: []string{"a"}, after: 20 * time.Second, least: 2000, most: math.Inf(1)},
		"it was quiet, and less than that arrives":      {normal: 1, rated: []string{"a"}, after: 40 * time.Second, least: 2000, most: math.Inf(1), arrivals: 30},
		"only what arrives is known":                    {normal: 200, after: 9 * time.Second, least: 200, most: 480},
		"only what arrives is known, and much waits":    {normal: 20, after: time.Minute, least: 1000, most: math.Inf(1)},
	} {
		s := State{Open: true, Since: noon, Normal: test.normal, RatedBy: test.rated}.recover(noon)
		for now := noon; now.Before(noon.Add(test.after)); now = now.Add(time.Second) {
			s, _ = s.Step(now, policy, Told{Who: "a", Want: 1000, Arrivals: test.arrivals * int64(now.Sub(noon)/time.Second)})
		}
		if rate := s.Rate(noon.Add(test.after)); rate < test.least || rate > test.most {
			t.Errorf("%s: %.1f orders a second after %s, not between %.0f and %.0f", name, rate, test.after, test.least, test.most)
		}
	}
}

// What a recovery has broken down at is known from then on: the next one does not go there at once.
func TestWhatIsTooMuchIsRemembered(t *testing.T) {
	t.Parallel()
	for name, quiet := range map[string]State{
		"after a quiet time":       {Open: true, Since: noon, Normal: 1, RatedBy: []string{"a"}},
		"where nothing was known":  {Open: true, Since: noon},
		"where only arrivals were": {Open: true, Since: noon, Normal: 12},
	} {
		s := quiet.recover(noon)
		now := noon
		for ; s.Rate(now) < 500; now = now.Add(100 * time.Millisecond) {
			if now.Sub(noon) > time.Minute {
				t.Fatalf("%s: %.0f orders a second after a minute", name, s.Rate(now))
			}
		}
		s, _ = s.Step(now, policy, Told{Who: "a", Trip: "too much"})
		s = s.recover(now)
		for d := time.Duration(0); d <= 3*time.Second; d += 100 * time.Millisecond {
			if rate := s.Rate(now.Add(d)); rate > 500 {
				t.Errorf("%s: %.0f orders a second %s after it comes back, where 500 were too much", name, rate, d)
			}
		}
		if rate := s.Rate(now.Add(3100 * time.Millisecond)); rate < 250 {
			t.Errorf("%s: only %.0f orders a second after three seconds", name, rate)
		}
	}
}
