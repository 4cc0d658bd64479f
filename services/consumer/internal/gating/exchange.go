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

// exchange is one with the queue's gate: this consumer tells what it has to tell and asks for what it wants, in one step of the gate's rules.
type exchange struct {
	began time.Time
	want  int           // messages that it would fetch, did nothing keep it from that
	told  gate.Told     // what is told and asked for
	alone bool          // the row cannot be used at present
	known queue.GateRow // from which this consumer goes on alone, if it has to

	agreed queue.GateRow // what came of it
	answer gate.Answer
}

// beginLocked makes an exchange of what there is to tell.
func (g *Gate) beginLocked(now time.Time, want int) *exchange {
	told := gate.Told{
		Who: g.who, Rate: g.meter.Rate(now), Recent: g.answered.Recent(now), Trip: g.trip, Eased: g.eased, Patience: g.patience, Slowed: g.slowed,
		Probe: g.probe, Short: g.short, Want: want,
	}
	if g.revision < 0 && g.known.Open && told.Trip == "" && told.Probe != gate.ProbeAnswered {
		// It is this consumer's own, so that the others, if the row can be used again, do not know. To find it closed says nothing.
		told.Trip = g.known.Reason
	}
	if g.own.Open { // it has nothing to try of what is the others'
		told.Probe, told.Want = gate.ProbeNone, 0
	}
	x := &exchange{began: now, want: want, told: told, alone: now.Before(g.deadTill), known: queue.GateRow{State: g.known, Revision: -1, Now: now}}
	if !g.heard.IsZero() {
		x.known.Now = g.nowLocked()
	}
	g.stale, g.news, g.eased, g.patience, g.slowed = false, false, false, 0, false
	return x
}

// exchange agrees with the queue's gate. errAlone says that it cannot, for a reason that will last.
func (g *Gate) exchange(ctx context.Context, link *pg.Link, q *queue.Queue, x *exchange) error {
	if x.alone {
		return errAlone
	}
	err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		x.agreed, err = q.ChangeGate(ctx, conn, func(found queue.GateRow) (next gate.State) {
			x.told.Arrivals = found.Arrivals
			next, x.answer = found.Step(found.Now, g.policy, x.told)
			return next
		})
		return err
	})
	return g.classify(err, x.began)
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

// adopt takes what came of an exchange for what is known, and permits what follows from it.
func (g *Gate) adopt(x *exchange, err error) (Permit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case errors.Is(err, errAlone):
		// The database does not let us share it: a table that is gone, a right that is missing, a lock that somebody keeps. Then each
		// consumer goes on with a gate of its own, from what it knew.
		if !x.alone {
			g.deadTill = x.began.Add(deadFor)
		}
		x.told.Arrivals = 0
		x.agreed = x.known
		x.agreed.State, x.answer = x.known.Step(x.known.Now, g.policy, x.told)
	case err != nil: // what there is to tell is told next time
		g.news = true
		g.eased, g.patience, g.slowed = g.eased || x.told.Eased, max(g.patience, x.told.Patience), g.slowed || x.told.Slowed
		return Permit{Shut: g.shutLocked()}, err
	}
	g.learnLocked(x.agreed, x.told)
	if g.own.Open && !g.known.Open && !g.known.Paused() {
		return g.askOwnLocked(x.want), nil
	}
	return g.permitLocked(x.answer), nil
}

// learnLocked takes what has been agreed on for what is known.
func (g *Gate) learnLocked(seen queue.GateRow, told gate.Told) {
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
