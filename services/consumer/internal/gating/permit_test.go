package gating

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/gate"
)

// As long as nothing is to be told or heard no statement is sent, and nothing is permitted that the others do not allow.
func TestWhatIsPermittedWithoutAStatement(t *testing.T) {
	t.Parallel()
	now := time.Now()
	soon := now.Add(time.Minute)
	limit := gate.Limit{Base: 100, Growth: 1, At: now}
	for name, test := range map[string]struct {
		gate  func(*Gate)
		want  int
		here  bool // no exchange
		fetch int
		shut  bool
	}{
		"nothing is known":                     {gate: func(g *Gate) { g.stale = true }, want: 7},
		"there is something to tell":           {gate: func(g *Gate) { g.news = true }, want: 7},
		"it stands open wide":                  {gate: func(*Gate) {}, want: 7, here: true, fetch: 7},
		"there is a limit":                     {gate: func(g *Gate) { g.known.Limit = limit }, want: 7},
		"a limit, and no room":                 {gate: func(g *Gate) { g.known.Limit = limit }, here: true},
		"a limit that was asked for just now":  {gate: func(g *Gate) { g.known.Limit, g.askAt = limit, soon }, want: 7, here: true},
		"patience":                             {gate: func(g *Gate) { g.known.PatienceUntil, g.askAt = soon, soon }, want: 7, here: true},
		"a pause that nobody has asked about":  {gate: func(g *Gate) { g.known.PausedAt = now }, want: 7},
		"a pause that was asked about":         {gate: func(g *Gate) { g.known.PausedAt, g.askAt = now, soon }, want: 7, here: true, shut: true},
		"the breaker":                          {gate: func(g *Gate) { g.known.Open = true }, want: 7},
		"the breaker, asked about":             {gate: func(g *Gate) { g.known.Open, g.askAt = true, soon }, want: 7, here: true, shut: true},
		"its own breaker, and time for probes": {gate: func(g *Gate) { g.own.Open = true }, want: 7, here: true, fetch: 1},
		"its own breaker, too early":           {gate: func(g *Gate) { g.own.Open, g.own.ProbeAt = true, soon }, want: 7, here: true, shut: true},
		"its own breaker and the breaker":      {gate: func(g *Gate) { g.own.Open, g.known.Open = true, true }, want: 7},
	} {
		g := newTestGate(4)
		g.policy.ProbeMost = time.Hour
		g.stale, g.heard, g.database = false, now, now
		test.gate(g)
		p, x := g.permitHere(now, test.want)
		if here := x == nil; here != test.here || p.Fetch != test.fetch || p.Shut != test.shut {
			t.Errorf("%s: without a statement %t, %+v", name, here, p)
		}
		if x != nil && g.own.Open && x.told.Want != 0 {
			t.Errorf("%s: it asks for %d messages, though it has stopped itself", name, x.told.Want)
		}
	}
}

// Who has no worker free does not take the probe: it would keep the others from probing.
func TestWhoHasNobodyToProbeWithAsksForNoProbe(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, open := range map[string]func(*Gate){
		"the breaker":     func(g *Gate) { g.known.Open = true },
		"its own breaker": func(g *Gate) { g.own.Open = true },
	} {
		for busy := range 5 {
			g := newTestGate(4)
			g.policy.ProbeMost = time.Hour
			g.stale, g.heard, g.database = false, now, now
			open(g)
			for range busy {
				g.running[&Ticket{}] = 1
			}
			p, x := g.permitHere(now, 7)
			asked := p.Fetch
			if x != nil {
				asked = x.told.Want
			}
			if free := busy < 4; (asked > 0) != free {
				t.Errorf("%s, with %d of 4 workers busy: it asks for %d", name, busy, asked)
			}
		}
	}
}
