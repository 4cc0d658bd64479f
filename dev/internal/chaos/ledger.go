package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// ledgerSQL counts what the orders say of themselves. effects is raised with every effect that commits and guarded by nothing: an
// order that was processed twice shows a 2. Times are the database's.
const ledgerSQL = `
select count(*) filter (where status = 'completed'),
       count(*) filter (where status = 'dead'),
       count(*) filter (where status = 'pending'),
       count(*) filter (where effects > 1),
       count(*) filter (where (status = 'completed') <> (effects = 1) and effects <= 1),
       coalesce(sum(greatest(attempts - 1, 0)), 0)::bigint,
       coalesce(max(attempts), 0),
       coalesce(extract(epoch from max(completed_at - created_at)), 0)::float8,
       max(completed_at) filter (where created_at < $1),
       min(completed_at) filter (where created_at >= $1)
from public.orders`

type ledger struct {
	completed, dead, pending int64
	twice, mismatched        int64
	retried, mostAttempts    int64
	slowest                  time.Duration
	lastBefore, firstAfter   *time.Time
}

// endQuick ends a fault that must delay no order for longer than two seconds, with the account and the ledger.
func (r *Rig) endQuick(ctx context.Context, what string) (ledger, error) {
	r.ended()
	if err := r.account(ctx); err != nil {
		return ledger{}, err
	}
	l, err := r.readLedger(ctx)
	if err == nil {
		r.quick(what, l.slowest, 2*time.Second)
	}
	return l, err
}

func (r *Rig) readLedger(ctx context.Context) (ledger, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return ledger{}, fmt.Errorf("read the ledger: %w", err)
	}
	defer conn.Close(ctx)
	var l ledger
	var seconds float64
	err = conn.QueryRow(ctx, ledgerSQL, r.causeAt.Add(r.skew)).Scan(&l.completed, &l.dead, &l.pending, &l.twice, &l.mismatched,
		&l.retried, &l.mostAttempts, &seconds, &l.lastBefore, &l.firstAfter)
	if err != nil {
		return ledger{}, fmt.Errorf("read the ledger: %w", err)
	}
	l.slowest = time.Duration(seconds * float64(time.Second))
	return l, nil
}

// gather collects what is known of all orders, once they have come to rest.
func (r *Rig) gather(ctx context.Context, a stack.Report, exitCode int) (evidence, error) {
	e := evidence{account: a, exitCode: exitCode, causeAt: r.causeAt.Add(r.skew), lag: r.lag.most()}
	// The load generator waits for its own orders; the prober's last ones may need a moment more. The queue may hold a message of
	// an order that is settled (a second delivery): what it would do has to be seen too.
	e.unsettled = r.until(ctx, "all orders settled and the queue empty", func() (bool, error) {
		var err error
		if e.ledger, err = r.readLedger(ctx); err != nil || e.ledger.pending > 0 {
			return false, err
		}
		depth, err := r.scalar(ctx, "select count(*) from pgmq.q_order_queue")
		return err == nil && depth == 0, err
	})
	probed := r.prober.accepted()
	e.probes, e.probed = int64(len(r.prober.all())), int64(len(probed))
	var err error
	if e.probedCompleted, err = r.scalar(ctx, `select count(*) from public.orders where id = any($1) and status = 'completed'`, probed); err != nil {
		return e, err
	}
	if r.handler() == HandlerSQL {
		effects, err := stack.CountEffects(ctx, r.databaseURL)
		if err != nil {
			return e, err
		}
		e.effects = &effects
	}
	if r.receiver != nil {
		if e.received, err = r.receiver.Received(ctx); err != nil {
			return e, err
		}
	}
	if e.stories, err = r.readStories(ctx); err != nil {
		return e, err
	}
	for n, p := range r.expected {
		e.lives = append(e.lives, life{n.Name, n.Process() == p && p.Running()})
	}
	return e, nil
}

// recovery is the time from the cause's end until both the first order posted after it and the last one posted before it were
// completed.
func (l *ledger) recovery(causeAt time.Time) time.Duration {
	var longest time.Duration
	for _, at := range []*time.Time{l.lastBefore, l.firstAfter} {
		if at != nil {
			longest = max(longest, at.Sub(causeAt))
		}
	}
	return longest
}

// scalar reads one number.
func (r *Rig) scalar(ctx context.Context, sql string, args ...any) (int64, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
}

// ids reads the ids of orders.
func (r *Rig) ids(ctx context.Context, sql string) ([]int64, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("read ids: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read ids: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read ids: %w", err)
	}
	return ids, nil
}
