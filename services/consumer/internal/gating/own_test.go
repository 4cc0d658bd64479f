package gating

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/queue"
)

// Only the probe of another, and an answer to it, shows that a consumer was wrong to open the breaker of all.
func TestWhatDisprovesAConsumer(t *testing.T) {
	t.Parallel()
	policy := gate.Policy{ProbeFirst: time.Second, ProbeMost: time.Minute}
	begin := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	opening, closing := begin.Add(time.Minute), begin.Add(2*time.Minute)
	ours, theirs := gate.Told{Who: "us", Trip: "answered 401"}, gate.Told{Who: "others", Trip: "answered 503"}
	open := func(by gate.Told) gate.State {
		s, _ := gate.State{}.Step(opening, policy, by)
		return s
	}
	closed := func(s gate.State, by string) gate.State {
		s, answer := s.Step(closing, policy, gate.Told{Who: by, Want: 1})
		if !answer.Probe {
			t.Fatalf("%s may not probe: %+v", by, s)
		}
		s, _ = s.Step(closing, policy, gate.Told{Who: by, Probe: gate.ProbeAnswered})
		return s
	}
	for name, test := range map[string]struct {
		opened gate.Told
		next   func(gate.State) gate.State
		told   gate.Told
		before own
		want   bool
	}{
		"by another's probe":                   {opened: ours, next: func(s gate.State) gate.State { return closed(s, "others") }, want: true},
		"not where others had opened it":       {opened: theirs, next: func(s gate.State) gate.State { return closed(s, "others") }},
		"and still so in the outage of others": {opened: theirs, next: func(s gate.State) gate.State { return closed(s, "others") }, before: own{disproved: true}, want: true},
		"not by its own probe":                 {opened: ours, next: func(s gate.State) gate.State { return closed(s, "us") }, told: gate.Told{Who: "us", Probe: gate.ProbeAnswered}},
		"no more after its own probe": {
			opened: theirs, next: func(s gate.State) gate.State { return closed(s, "us") },
			told: gate.Told{Who: "us", Probe: gate.ProbeAnswered}, before: own{disproved: true},
		},
		"not by a hand that deletes the row": {opened: ours, next: func(gate.State) gate.State { return gate.State{} }},
		"not by a hand that closes it": {opened: ours, next: func(s gate.State) gate.State {
			s.Open, s.Since = false, closing
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, s := test.before, open(test.opened)
			told := gate.Told{}
			if test.opened.Who == "us" {
				told = test.opened
			}
			o.heard(gate.State{}, queue.GateRow{State: s, Now: opening}, told)
			o.heard(s, queue.GateRow{State: test.next(s), Now: closing}, test.told)
			if o.disproved != test.want {
				t.Errorf("disproved: %t", o.disproved)
			}
		})
	}
}
