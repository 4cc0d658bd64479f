package gate

import (
	"math"
	"testing"
	"time"
)

var (
	noon   = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	policy = Policy{ProbeFirst: time.Second, ProbeMost: 5 * time.Second}
)

func paused(s State) State {
	s.PausedAt, s.PausedBy = noon, "me"
	return s
}

// rested is what has asked for patience until noon.
func rested(normal, base, growth float64) State {
	return State{Normal: normal, RatedBy: []string{"a"}, Limit: Limit{base, growth, noon}, PatienceUntil: noon}
}

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestWhatTheGateAnswers(t *testing.T) {
	t.Parallel()
	open := State{}.trip(noon, policy, "boom")
	probed := open.claim(at(1), policy, "a")
	recovering := probed.recover(at(2))
	known := State{Open: true, Since: noon, Normal: 200, RatedBy: []string{"a"}}.recover(noon)
	for name, test := range map[string]struct {
		state State
		now   time.Time
		ask   Told
		want  Answer
		check func(State) bool
	}{
		"a queue without a row": {now: noon, ask: Told{Want: 30}, want: Answer{Grant: 30}},
		"it opens":              {now: noon, ask: Told{Want: 30, Trip: "boom"}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Open && s.Reason == "boom" && s.Since.Equal(noon) }},
		"it opens, by a row of somebody's hand": {state: State{Failures: 7, Normal: 50, RatedBy: []string{"a"}, Prober: "b", ProbeUntil: at(4)}, now: noon, ask: Told{Want: 30, Trip: "boom"}, want: Answer{Wait: time.Second}, check: func(s State) bool {
			return s.Failures == 0 && s.Normal == 0 && s.RatedBy == nil && s.Prober == "" && s.ProbeUntil.IsZero() && s.ProbeAt.Equal(at(1))
		}},
		"open already":       {state: probed, now: at(1.5), ask: Told{Who: "b", Want: 30, Trip: "other"}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Reason == "boom" && s.Prober == "a" }},
		"too early to probe": {state: open, now: at(0.9), ask: Told{Who: "a", Want: 30}, want: Answer{Wait: 100 * time.Millisecond}},
		"time to probe":      {state: open, now: at(1), ask: Told{Who: "a", Want: 30}, want: Answer{Grant: 1, Probe: true}, check: func(s State) bool { return s.Prober == "a" }},

		"time to probe, but not for one without room": {state: open, now: at(1), ask: Told{Who: "a"}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Prober == "" }},
		"somebody else probes":                        {state: probed, now: at(5.9), ask: Told{Who: "b", Want: 30}, want: Answer{Wait: 100 * time.Millisecond}},
		"who probes has died":                         {state: probed, now: at(6), ask: Told{Who: "b", Want: 30}, want: Answer{Grant: 1, Probe: true}, check: func(s State) bool { return s.Prober == "b" && s.Failures == 1 }},
		"who probes lives":                            {state: probed, now: at(5), ask: Told{Who: "a", Probe: ProbeRunning, Want: 30}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.ProbeUntil.Equal(at(10)) }},

		"the probe fails":                   {state: probed, now: at(1.1), ask: Told{Who: "a", Probe: ProbeFailed, Want: 30}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Open && s.Prober == "" && s.Failures == 1 && s.ProbeAt.Equal(at(3)) }},
		"the probe fails slowly":            {state: probed, now: at(2.9), ask: Told{Who: "a", Probe: ProbeFailed, Want: 30}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.ProbeAt.Equal(at(3.9)) }},
		"the probe found nothing":           {state: probed, now: at(1.1), ask: Told{Who: "a", Probe: ProbeUnused}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Open && s.Prober == "" && s.Failures == 0 && s.ProbeAt.Equal(at(1.1)) }},
		"the probe of another one succeeds": {state: probed, now: at(1.1), ask: Told{Who: "b", Probe: ProbeAnswered}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Open && s.Prober == "a" }},

		"the probe succeeds":     {state: probed, now: at(2), ask: Told{Who: "a", Probe: ProbeAnswered, Want: 30}, want: Answer{Wait: 100 * time.Millisecond}, check: func(s State) bool { return !s.Open && s.Limited() && s.Recovering(at(2)) }},
		"slowly at first":        {state: recovering, now: at(2.2), ask: Told{Want: 30}, want: Answer{Grant: 1, Wait: pace}},
		"no more than the limit": {state: known, now: at(9), ask: Told{Want: 300}, want: Answer{Grant: 30, Wait: pace}},

		"there is a backlog":                                   {state: known, now: at(60), ask: Told{Want: 300, Arrivals: 1}, want: Answer{Grant: 30, Wait: pace}},
		"there is none, but that is too early to say":          {state: known, now: at(9.9), ask: Told{Want: 300, Short: true}, want: Answer{Grant: 30, Wait: pace}},
		"there is none":                                        {state: known, now: at(10), ask: Told{Want: 300, Short: true}, want: Answer{Grant: 300}, check: func(s State) bool { return !s.Limited() && s.Normal == 0 && s.RatedBy == nil && s.Failures == 0 }},
		"nothing is known of what is normal, and much is done": {state: recovering, now: at(14), ask: Told{Want: 300}, want: Answer{Grant: 300}, check: func(s State) bool { return !s.Limited() }},

		"patience":                {now: noon, ask: Told{Want: 30, Eased: true, Patience: 10 * time.Second, Recent: 20}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit.Base == 14 && s.Limit.At.Equal(at(10)) }},
		"patience without a time": {now: noon, ask: Told{Want: 30, Eased: true, Recent: 20}, want: Answer{Wait: 71428571}, check: func(s State) bool { return s.Limit.Base == 14 }},
		"patience for ever":       {now: noon, ask: Told{Want: 30, Eased: true, Patience: 1000 * time.Hour}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.PatienceUntil.Equal(noon.Add(longestPatience)) }},
		"patience, as others say": {state: State{Limit: Limit{Base: 14, Growth: easeGrowth, At: noon}}, now: at(0.9), ask: Told{Eased: true}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit.Base == 14 }},
		"patience again":          {state: State{Limit: Limit{Base: 14, Growth: easeGrowth, At: noon}}, now: at(1), ask: Told{Eased: true}, want: Answer{Wait: time.Second}, check: func(s State) bool { return math.Abs(s.Limit.Base-14*1.1*.7) < .001 }},
		"patience, refused again": {state: rested(200, 140, resumeGrowth), now: at(0.03125), ask: Told{Eased: true, Patience: 2 * time.Second, Recent: 9}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit == Limit{floor, resumeGrowth, at(2.03125)} && s.Normal == 200 }},
		"patience, after many calls": {state: rested(200, 140, resumeGrowth), now: at(0.5), ask: Told{Eased: true, Patience: 2 * time.Second, Recent: 9}, want: Answer{Wait: time.Second}, check: func(s State) bool {
			return s.Limit.Growth == easeGrowth && s.Limit.Base > 98 && s.Limit.At.Equal(at(2.5)) && s.Normal == 0
		}},
		"patience after an outage":     {state: rested(200, 19, rampGrowth), now: at(0.03125), ask: Told{Eased: true, Patience: 2 * time.Second}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit == Limit{floor, resumeGrowth, at(2.03125)} && s.Normal == 200 }},
		"of calls before the patience": {state: rested(200, 140, resumeGrowth), now: at(-0.5), ask: Told{Eased: true, Patience: 2 * time.Second}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit == Limit{140, resumeGrowth, at(1.5)} && s.Normal == 200 }},
		"patience, and others' rates":  {state: rested(200, 140, resumeGrowth), now: at(-0.5), ask: Told{Who: "b", Rate: 50}, want: Answer{Wait: 500 * time.Millisecond}, check: func(s State) bool { return s.Normal == 250 }},
		"no probe before the patience": {state: State{Open: true, Since: noon, ProbeAt: noon, PatienceUntil: at(3)}, now: at(2.5), ask: Told{Who: "a", Want: 1}, want: Answer{Wait: 500 * time.Millisecond}},

		"the clock has gone back in a recovery": {state: known, now: at(-3600), ask: Told{Want: 30}, want: Answer{Wait: 53333333}, check: func(s State) bool { return s.Limit.At.Equal(at(-3600)) && s.Since.Equal(at(-3600)) }},
		"and in a time of patience":             {state: rested(200, 140, resumeGrowth), now: at(-3600), ask: Told{Want: 30}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Limit.At.Equal(at(-3600).Add(longestPatience)) }},

		"paused":                     {state: paused(State{}), now: at(1), ask: Told{Want: 30}, want: Answer{Wait: time.Second}},
		"paused while open":          {state: paused(open), now: at(9), ask: Told{Who: "a", Want: 30}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Prober == "" }},
		"opened again in a recovery": {state: known, now: at(1), ask: Told{Who: "a", Rate: 9, Trip: "boom"}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Failures == 1 && s.Normal == 200 && s.ProbeAt.Equal(at(3)) }},

		"rates of others are added":       {state: open, now: at(0.5), ask: Told{Who: "b", Rate: 50}, want: Answer{Wait: 500 * time.Millisecond}, check: func(s State) bool { return s.Normal == 50 }},
		"but each once":                   {state: open.rated("b", 50), now: at(0.5), ask: Told{Who: "b", Rate: 70}, want: Answer{Wait: 500 * time.Millisecond}, check: func(s State) bool { return s.Normal == 50 }},
		"what arrives is normal":          {state: State{Open: true, ProbeAt: at(20), ArrivedAt: noon, Arrivals: 1000, Normal: 50}, now: at(10), ask: Told{Arrivals: 3000}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Normal == 200 }},
		"what does not arrive is no less": {state: State{Open: true, ProbeAt: at(20), ArrivedAt: noon, Arrivals: 1000, Normal: 50}, now: at(10), ask: Told{Arrivals: 1000}, want: Answer{Wait: time.Second}, check: func(s State) bool { return s.Normal == 50 }},
	} {
		next, answer := test.state.Step(test.now, policy, test.ask)
		if answer != test.want || test.check != nil && !test.check(next) {
			t.Errorf("%s: %+v, want %+v\n%+v", name, answer, test.want, next)
		}
	}
}

// The wait grows from the first to the most, and stays there however long it takes.
func TestTheIntervalsOfProbesGrow(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]int{0: 1, 1: 2, 2: 4, 3: 5, 4: 5, 1000: 5} {
		if d := policy.interval(failures); d != time.Duration(want)*time.Second {
			t.Errorf("after %d: %s", failures, d)
		}
	}
	if d := (Policy{}).interval(1000); d != 0 {
		t.Errorf("%s", d)
	}
}

// A receiver that comes back and goes again is probed ever less often, until its backlog is worked off.
func TestAReceiverThatFlapsIsProbedEverMoreRarely(t *testing.T) {
	t.Parallel()
	var s State
	now := noon
	for n, want := range []int{1, 2, 4, 5, 5} {
		s, _ = s.Step(now, policy, Told{Who: "a", Trip: "boom"})
		if wait := s.ProbeAt.Sub(now); wait != time.Duration(want)*time.Second {
			t.Fatalf("opening %d: probe in %s", n, wait)
		}
		now = s.ProbeAt
		s, _ = s.Step(now, policy, Told{Who: "a", Want: 1})
		now = now.Add(time.Second)
		s, _ = s.Step(now, policy, Told{Who: "a", Probe: ProbeAnswered})
		now = now.Add(time.Second)
	}
	s, _ = s.Step(now.Add(settled), policy, Told{Short: true})
	if s.Limited() || s.Failures != 0 {
		t.Fatalf("%+v", s)
	}
}
