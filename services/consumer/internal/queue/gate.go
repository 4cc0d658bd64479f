package queue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/gate"
)

// GatePayload is what consumers are notified of when the gate's state has changed in a way that concerns them all.
const GatePayload = "gate"

// GateRow is the queue's gate as the database has it.
type GateRow struct {
	gate.State
	Revision int64     // of the row; 0: there is none
	Now      time.Time // the database's time
	Arrivals int64     // messages ever sent to the queue
}

// ReadGate reads the gate.
func (q *Queue) ReadGate(ctx context.Context, conn *pgx.Conn) (GateRow, error) {
	return scanGate(conn.QueryRow(ctx, q.gateRead, q.Name, q.table))
}

// AskGate puts the statement of [Queue.ReadGate] into somebody else's batch. found gets the answer.
func (q *Queue) AskGate(b *pgx.Batch, found func(GateRow)) {
	b.Queue(q.gateRead, q.Name, q.table).QueryRow(func(row pgx.Row) error {
		g, err := scanGate(row)
		if err == nil {
			found(g)
		}
		return err
	})
}

func scanGate(row pgx.Row) (GateRow, error) {
	var g GateRow
	var paused, since, probe, prober, arrived, limit, tokens, patience *time.Time
	err := row.Scan(&g.Now, &g.Arrivals, &g.Revision,
		&paused, &g.PausedBy, &g.PauseReason, &g.Open, &since, &g.Reason, &g.Failures, &probe, &g.Prober, &prober, &g.Normal, &g.RatedBy,
		&g.State.Arrivals, &arrived, &g.Limit.Base, &g.Limit.Growth, &limit, &g.Tokens, &tokens, &patience)
	if err != nil {
		return GateRow{}, fmt.Errorf("read the gate: %w", err)
	}
	for at, scanned := range map[*time.Time]*time.Time{
		&g.PausedAt: paused, &g.Since: since, &g.ProbeAt: probe, &g.ProbeUntil: prober, &g.ArrivedAt: arrived, &g.Limit.At: limit,
		&g.TokensAt: tokens, &g.PatienceUntil: patience,
	} {
		if scanned != nil {
			*at = *scanned
		}
	}
	return g, nil
}

// Pause stops the queue for all consumers, until Resume. A queue that is paused stays as it is.
func (q *Queue) Pause(ctx context.Context, conn *pgx.Conn, by string) (GateRow, error) {
	if _, err := conn.Exec(ctx, q.gatePause, q.Name, storable(conn, by)); err != nil {
		return GateRow{}, fmt.Errorf("pause the queue: %w", err)
	}
	return q.ReadGate(ctx, conn)
}

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context, conn *pgx.Conn) (GateRow, error) {
	if _, err := conn.Exec(ctx, q.gateResume, q.Name); err != nil {
		return GateRow{}, fmt.Errorf("resume the queue: %w", err)
	}
	return q.ReadGate(ctx, conn)
}

// ChangeGate changes the gate, but for its pause, as change says, which is called again with another one when somebody else has been quicker. It returns what is
// agreed on. Where others are to know of the change at once they are told.
func (q *Queue) ChangeGate(ctx context.Context, conn *pgx.Conn, change func(GateRow) gate.State) (GateRow, error) {
	for same, last := 0, int64(-1); same < sameTries; {
		found, err := q.ReadGate(ctx, conn)
		if err != nil {
			return GateRow{}, err
		}
		next := change(found)
		if reflect.DeepEqual(next, found.State) {
			return found, nil
		}
		revision, err := q.writeGate(ctx, conn, found.Revision, next, next.Concerns(found.State))
		if err != nil {
			return GateRow{}, err
		}
		if revision != 0 {
			found.State, found.Revision = next, revision
			return found, nil
		}
		if same++; found.Revision != last {
			same, last = 0, found.Revision // somebody else was quicker: so it goes on, with however many there are
		}
	}
	return GateRow{}, ErrGateStuck
}

// sameTries is how often a change may fail without anybody else's.
const sameTries = 3

// ErrGateStuck says that the gate's row does not change: a trigger suppresses it, for instance.
var ErrGateStuck = errors.New("the row of orderflow.gate cannot be written: the update affected no row; a row-level trigger may suppress it")

// writeGate changes the gate that was read with a revision, and returns the new one: 0 when somebody else has changed it since.
// With tell the consumers are told.
func (q *Queue) writeGate(ctx context.Context, conn *pgx.Conn, revision int64, s gate.State, tell bool) (written int64, err error) {
	rated := s.RatedBy
	if rated == nil {
		rated = []string{}
	}
	err = conn.QueryRow(ctx, q.gateWrite, q.Name, revision, s.Open, orNull(s.Since), storable(conn, s.Reason),
		s.Failures, orNull(s.ProbeAt), storable(conn, s.Prober), orNull(s.ProbeUntil), s.Normal, rated, s.Arrivals, orNull(s.ArrivedAt),
		s.Limit.Base, s.Limit.Growth, orNull(s.Limit.At), s.Tokens, orNull(s.TokensAt), orNull(s.PatienceUntil), tell, q.Channel()).
		Scan(&written, nil, nil)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write the gate: %w", err)
	}
	return written, nil
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
