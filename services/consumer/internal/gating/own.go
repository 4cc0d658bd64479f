package gating

import (
	"cmp"
	"time"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/queue"
)

// own is the breaker of one consumer. Where a consumer finds nobody there and others do, the fault is its own: it has an old secret, or no way
// to the receiver. That shows when it has opened the breaker of all and the probe of another closes it: whoever has been disproved so, and
// fails on without a single answer, stops only itself. It hands back what it has, uncounted, and probes until it is answered.
type own struct {
	gate.State      // Open or zero; its times are this host's
	opened     bool // the breaker of all, and nobody else has since
	disproved  bool // by another's probe, and has had no answer since
}

// heard notes whether this consumer has opened the breaker of all, and whether another has shown that it was wrong: a probe that was answered
// leaves a recovery, and somebody's hand does not.
func (o *own) heard(before gate.State, seen queue.GateRow, told gate.Told) {
	switch {
	case seen.Since.Equal(before.Since):
	case seen.Open:
		o.opened = told.Trip != "" && seen.Since.Equal(seen.Now)
	case told.Probe == gate.ProbeAnswered:
		o.opened, o.disproved = false, false
	default:
		o.disproved = o.disproved || o.opened && seen.Recovering(seen.Now)
		o.opened = false
	}
}

// tripLocked opens the breaker: that of all, or of this consumer alone.
func (g *Gate) tripLocked(now time.Time, problem string) {
	problem = cmp.Or(problem, "the handler has given no reason") // without one nothing would be open
	g.epoch++
	g.news = true
	g.changed.Send()
	if !g.own.disproved {
		g.trip = problem
		return
	}
	g.own.State, _ = gate.State{}.Step(now, g.policy, gate.Told{Who: g.who, Trip: problem})
	g.window.Clear()
	g.metrics.OwnBreakerOpen.Set(1)
	g.log.Warn("the breaker of this consumer alone is open: what the handler calls is unavailable to it, and not to others; "+
		"fetching only one probe at a time", "error", problem)
}

// askOwnLocked is the permit of a consumer whose own breaker is open.
func (g *Gate) askOwnLocked(want int) Permit {
	if g.idle {
		want = 0
	}
	next, answer := g.own.Step(time.Now(), g.policy, gate.Told{Who: g.who, Probe: g.probe, Want: want})
	if g.probe != gate.ProbeNone && g.probe != gate.ProbeRunning {
		g.metrics.Probes.WithLabelValues(g.probe.String()).Inc()
		g.probe = gate.ProbeNone
	}
	g.news = g.eased || g.slowed // heard during an exchange: the others are told in the next
	if next.Open {
		g.own.State = next
		return g.permitLocked(answer)
	}
	g.own = own{}
	g.epoch++
	g.idle = false
	g.metrics.OwnBreakerOpen.Set(0)
	g.log.Info("the breaker of this consumer alone is closed: what the handler calls answers it again")
	g.changed.Send() // it may go on at once, as the others do
	return Permit{}
}
