package gating

import (
	"context"
	"time"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Permit is what the fetcher may do.
type Permit struct {
	Fetch int           // so many messages
	Shut  bool          // the gate is shut, and this is no probe: nothing that waits may be started either
	Wait  time.Duration // until it may be otherwise; 0: until something changes
	probe bool          // the one message is a probe
}

// Ask asks for a permit to fetch up to want messages. As a rule that takes no statement. Otherwise there is something to tell or to hear: it is
// exchanged with the queue's gate over link, and what was agreed on is adopted. An error means that nothing is known; it is asked again.
func (g *Gate) Ask(ctx context.Context, link *pg.Link, q *queue.Queue, want int) (Permit, error) {
	p, x := g.permitHere(time.Now(), want)
	if x == nil {
		return p, nil
	}
	err := g.exchange(ctx, link, q, x)
	return g.adopt(x, err)
}

// permitHere is the permit where that takes no statement; otherwise it begins the exchange that it takes.
func (g *Gate) permitHere(now time.Time, want int) (Permit, *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probe == gate.ProbeRunning && now.Sub(g.began) > g.longest {
		g.probe, g.probing, g.news = gate.ProbeUnused, nil, true
	}
	if !g.deadTill.IsZero() && now.After(g.deadTill) {
		g.stale, g.deadTill = true, time.Time{}
	}
	if g.known.Open && g.idle || g.openLocked() && len(g.running) >= g.workers {
		want = 0 // there is nothing to probe with, or nobody
	}
	if p, decided := g.permitHereLocked(now, want); decided {
		return p, nil
	}
	return Permit{}, g.beginLocked(now, want)
}

// permitHereLocked decides without the queue's gate: when this consumer's own breaker is open, the gate is wide open, or it is too early to ask.
func (g *Gate) permitHereLocked(now time.Time, want int) (p Permit, decided bool) {
	if g.own.Open {
		if !g.stale && !g.eased && !g.slowed && !g.known.Open && !g.known.Paused() {
			return g.askOwnLocked(want), true
		}
		want = 0 // it has nothing to try of what is the others'
	}
	limited := g.known.Limited() || g.nowLocked().Before(g.known.PatienceUntil)
	switch {
	case g.stale || g.news:
		return Permit{}, false
	case !g.known.Open && !g.known.Paused() && (!limited || want == 0): // what a limit allows is asked when there is room
		return Permit{Fetch: want}, true
	case now.Before(g.askAt):
		return Permit{Shut: g.shutLocked(), Wait: g.askAt.Sub(now)}, true
	default:
		return Permit{}, false
	}
}

// permitLocked is what an answer permits.
func (g *Gate) permitLocked(answer gate.Answer) Permit {
	g.askAt = time.Time{}
	if answer.Wait > 0 {
		g.askAt = time.Now().Add(answer.Wait)
	}
	if answer.Probe {
		g.probe, g.probing, g.began = gate.ProbeRunning, nil, time.Now()
	}
	return Permit{Fetch: answer.Grant, Shut: g.shutLocked() && !answer.Probe, Wait: answer.Wait, probe: answer.Probe}
}

// Fetched notes what a read has brought that was permitted: so many messages, and the ticket of the first; nil: none.
func (g *Gate) Fetched(p Permit, got int, first *Ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.short = got < p.Fetch
	switch {
	case !p.probe:
	case first != nil:
		first.probe, g.probing = true, first
	default:
		g.resolveLocked(nil, gate.ProbeUnused)
		g.idle = true
	}
}

// ReadFailed notes that a read that was permitted has failed: it says nothing about what is due.
func (g *Gate) ReadFailed(p Permit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.short = false
	if p.probe {
		g.resolveLocked(nil, gate.ProbeUnused)
	}
}

// HasDue says that there is something due to probe with.
func (g *Gate) HasDue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle {
		g.idle, g.askAt = false, time.Time{}
	}
}
