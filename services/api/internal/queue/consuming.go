package queue

import (
	"context"
	"fmt"
	"time"

	"orderflow.example/services/api/internal/isotime"
)

// Consuming is what the consumers of the queue have agreed on: see services/consumer/internal/gate.
type Consuming struct {
	State  string        `json:"state" enum:"running,limited,breaker_open,paused" doc:"running: as fast as they can. limited: what the handlers call was unavailable, or has asked for patience, and gets no more than it can take. breaker_open: it is unavailable; one order at a time is tried, until one succeeds. paused: an operator has stopped the queue"`
	Since  *isotime.Time `json:"since" doc:"when it was paused, or when the breaker opened or closed last; null when it is running"`
	By     string        `json:"by" doc:"who has paused it: a consumer's id for the command, or the api; empty when nobody has"`
	Reason string        `json:"reason" doc:"what was given as the reason of the pause, which may be nothing, or the error that opened the breaker; empty when it is running"`
}

// pauser is whom a pause names that came by way of the api, which knows nobody by name.
const pauser = "the api"

// Pause stops the consumers of the queue until Resume; what they have begun they finish. A queue that is paused stays as it is, with
// what the first one gave as the reason.
func (q *Queue) Pause(ctx context.Context, reason string) (Consuming, error) {
	var g Gate
	if err := q.db.QueryRow(ctx, `select `+GateColumns+` from orderflow.pause($1, $2, $3) g`, q.name, pauser, reason).Scan(g.Targets()...); err != nil {
		return Consuming{}, fmt.Errorf("pause the queue: %w", err)
	}
	return g.Consuming(), nil
}

// Resume ends a pause. A queue that is not paused stays as it is.
func (q *Queue) Resume(ctx context.Context) (Consuming, error) {
	var g Gate
	if err := q.db.QueryRow(ctx, `select `+GateColumns+` from orderflow.resume($1) g`, q.name).Scan(g.Targets()...); err != nil {
		return Consuming{}, fmt.Errorf("resume the queue: %w", err)
	}
	return g.Consuming(), nil
}

// Gate is what is shown of a row of orderflow.gate. All null, as without a row, means running.
type Gate struct {
	pausedAt              *time.Time
	pausedBy, pauseReason string
	open, limited         bool
	since                 *time.Time
	reason                string
}

// GateColumns are a gate's, of the row g.
const GateColumns = `
	g.paused_at, coalesce(g.paused_by, ''), coalesce(g.pause_reason, ''), coalesce(g.breaker_open, false),
	coalesce(g.limit_base > 0 or g.patience_until > clock_timestamp(), false), g.since, coalesce(g.reason, '')`

// Targets are where GateColumns go.
func (g *Gate) Targets() []any {
	return []any{&g.pausedAt, &g.pausedBy, &g.pauseReason, &g.open, &g.limited, &g.since, &g.reason}
}

// Consuming is what a gate means.
func (g *Gate) Consuming() Consuming {
	at := func(t *time.Time) *isotime.Time {
		if t == nil {
			return nil
		}
		return &isotime.Time{Time: *t}
	}
	switch {
	case g.pausedAt != nil:
		return Consuming{State: "paused", Since: at(g.pausedAt), By: g.pausedBy, Reason: g.pauseReason}
	case g.open:
		return Consuming{State: "breaker_open", Since: at(g.since), Reason: g.reason}
	case g.limited:
		return Consuming{State: "limited", Since: at(g.since), Reason: g.reason}
	}
	return Consuming{State: "running"}
}
