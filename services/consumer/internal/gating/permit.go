package gating

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Permit is what the fetcher may do.
type Permit struct {
	Fetch int           // so many messages
	Shut  bool          // nothing that waits may be started either
	Wait  time.Duration // until it may be otherwise; 0: until something changes
	probe bool          // the one message is a probe
}

// Ask asks for a permit to fetch up to want messages. Three answers take no statement: this consumer's own breaker is open, the gate is wide open, or
// it is too early to ask. Otherwise there is something to tell or to hear: one exchange with the queue's gate over link, and what was agreed is adopted.
// An error means that nothing is known; it is asked again.
func (g *Gate) Ask(ctx context.Context, link *pg.Link, q *queue.Queue, want int) (Permit, error) {
	g.mu.Lock()
	now := time.Now()
	if g.known.Open && g.idle {
		want = 0
	}
	if g.probe == gate.ProbeRunning && now.Sub(g.began) > g.longest {
		g.probe, g.probing, g.news = gate.ProbeUnused, nil, true
	}
	if !g.deadTill.IsZero() && now.After(g.deadTill) {
		g.stale, g.deadTill = true, time.Time{}
	}
	wanted := want
	if g.own.Open {
		if !g.stale && !g.eased && !g.slowed && !g.known.Open && !g.known.Paused() {
			defer g.mu.Unlock()
			return g.askOwnLocked(wanted), nil
		}
		want = 0 // it has nothing to try of what is the others'
	}
	wide := !g.known.Open && !g.known.Paused() && !g.known.Limited() && !g.nowLocked().Before(g.known.PatienceUntil)
	switch {
	case g.stale || g.news:
	case wide:
		g.mu.Unlock()
		return Permit{Fetch: want}, nil
	case want == 0 && !g.known.Open && !g.known.Paused():
		g.mu.Unlock()
		return Permit{}, nil // there is no room: what the limit allows is asked when there is
	case now.Before(g.askAt):
		soon := Permit{Shut: g.shutLocked(), Wait: g.askAt.Sub(now)}
		g.mu.Unlock()
		return soon, nil
	}
	ask := gate.Ask{
		Who: g.who, Rate: g.meter.Rate(now), Recent: g.answered.Recent(now), Trip: g.trip, Eased: g.eased, Patience: g.patience, Slowed: g.slowed,
		Probe: g.probe, Short: g.short, Want: want,
	}
	if g.revision < 0 && g.known.Open && ask.Trip == "" && ask.Probe != gate.ProbeAnswered {
		// It is this consumer's own, so that the others, if the row can be used again, do not know. To find it closed says nothing.
		ask.Trip = g.known.Reason
	}
	if g.own.Open {
		ask.Probe = gate.ProbeNone
	}
	dead, alone := now.Before(g.deadTill), queue.Gate{State: g.known, Revision: -1, Now: now}
	if !g.heard.IsZero() {
		alone.Now = g.nowLocked()
	}
	g.stale, g.news, g.eased, g.patience, g.slowed = false, false, false, 0, false
	g.mu.Unlock()

	var answer gate.Answer
	var seen queue.Gate
	var err error
	if !dead {
		err = link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			seen, err = q.ChangeGate(ctx, conn, func(found queue.Gate) (next gate.State) {
				ask.Arrivals = found.Arrivals
				next, answer = found.Step(found.Now, g.policy, ask)
				return next
			})
			return err
		})
		err = g.classify(err, now)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case dead || errors.Is(err, errAlone):
		// The database does not let us share it: a table that is gone, a right that is missing, a lock that somebody keeps. Then each
		// consumer goes on with a gate of its own, from what it knew.
		if !dead {
			g.deadTill = now.Add(deadFor)
		}
		ask.Arrivals = 0
		seen = alone
		seen.State, answer = alone.Step(alone.Now, g.policy, ask)
	case err != nil:
		g.news = true
		g.eased, g.patience, g.slowed = g.eased || ask.Eased, max(g.patience, ask.Patience), g.slowed || ask.Slowed
		return Permit{Shut: g.shutLocked()}, err
	}
	g.adoptLocked(seen, ask)
	if g.own.Open && !g.known.Open && !g.known.Paused() {
		return g.askOwnLocked(wanted), nil
	}
	return g.permitLocked(answer), nil
}

// errAlone says that the database does not let us share the gate.
var errAlone = errors.New("the gate cannot be shared")

// classify says what the error of an exchange means. A lock is worth waiting for, for a while.
func (g *Gate) classify(err error, now time.Time) error {
	locked := queue.Classify(err) == queue.Locked
	if !locked {
		g.lockedSince = time.Time{}
	} else if g.lockedSince.IsZero() {
		g.lockedSince = now
	}
	switch {
	case locked && now.Sub(g.lockedSince) < lockedMost:
		return err
	case errors.Is(err, queue.ErrGateStuck):
		g.updates.Turn("stuck", err.Error())
	case !queue.Answered(err):
		g.updates.Note(err)
		return err
	default:
		g.updates.Note(err)
	}
	return errAlone
}

// lockedMost is how long somebody may keep the row locked before each consumer goes on without it.
const lockedMost = 5 * time.Second

// deadFor is how long a gate that cannot be shared is left alone.
const deadFor = time.Second

// adoptLocked takes what has been agreed on for what is known.
func (g *Gate) adoptLocked(seen queue.Gate, told gate.Ask) {
	before, next := g.known, seen.State
	g.known, g.revision, g.heard, g.database = next, seen.Revision, time.Now(), seen.Now
	if told.Trip != "" {
		g.trip = ""
	}
	g.own.heard(before, seen, told)
	if next.Open && g.own.Open { // what it found is true of all now, and it probes with them: they may all be gone
		g.own.State = gate.State{}
		g.metrics.OwnBreakerOpen.Set(0)
	}
	if told.Probe != gate.ProbeNone && told.Probe != gate.ProbeRunning && g.probe == told.Probe {
		g.probe = gate.ProbeNone
		g.metrics.Probes.WithLabelValues(told.Probe.String()).Inc()
	}
	g.report(before, next, told)
	if next.Open != before.Open || !next.Since.Equal(before.Since) {
		g.epoch++
		g.window.Clear()
		g.idle, g.short = false, false
	}
}

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
