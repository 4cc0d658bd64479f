package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// ledgerSQL counts what the orders say of themselves. effects is raised with every effect that commits and guarded by nothing: an
// order that was processed twice shows a 2. An order of a prober's that was written twice shows the same product twice: what was never
// answered may be there once. The queue is counted in the same statement, which is one snapshot: when it is empty, the orders show what the
// last message has done. Times are the database's.
const ledgerSQL = `
select count(*) filter (where status = 'completed'),
       count(*) filter (where status = 'dead'),
       count(*) filter (where status = 'pending'),
       count(*) filter (where effects > 1),
       count(*) filter (where (status = 'completed') <> (effects = 1) and effects <= 1),
       count(*) filter (where customer_name like 'Prober %') - count(distinct (customer_name, product_name)) filter (where customer_name like 'Prober %'),
       (select count(*) from pgmq.q_order_queue),
       coalesce(sum(greatest(attempts - 1, 0)), 0)::bigint,
       coalesce(max(attempts), 0),
       coalesce(extract(epoch from max(completed_at - created_at)), 0)::float8,
       max(completed_at) filter (where created_at < $1),
       min(completed_at) filter (where created_at >= $1)
from public.orders`

type ledger struct {
	completed, dead, pending int64
	twice, mismatched        int64
	doubled                  int64 // rows of an order that is there already
	queued                   int64 // messages
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
		&l.doubled, &l.queued, &l.retried, &l.mostAttempts, &seconds, &l.lastBefore, &l.firstAfter)
	if err != nil {
		return ledger{}, fmt.Errorf("read the ledger: %w", err)
	}
	l.slowest = time.Duration(seconds * float64(time.Second))
	return l, nil
}

// gather collects what is known of all orders, once they have come to rest.
func (r *Rig) gather(ctx context.Context, a stack.Report, exitCode int) (evidence, error) {
	e := evidence{account: a, exitCode: exitCode, causeAt: r.causeAt.Add(r.skew), lag: r.lag.most()}
	e.ledger, e.unsettled = r.settled(ctx)
	probed := r.prober.accepted()
	e.probes, e.probed = int64(len(r.prober.all())), int64(len(probed))
	var err error
	if e.probedCompleted, err = r.completed(ctx, r.prober.customer, probed); err != nil {
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

// settled reads the ledger when all orders have come to rest, or as it is when they do not. The load generator waits for its own orders;
// the prober's last ones may need a moment more. The queue may hold a message of an order that is settled (a second delivery): what it
// would do has to be seen too.
func (r *Rig) settled(ctx context.Context) (l ledger, unsettled error) {
	unsettled = r.until(ctx, "all orders settled and the queue empty", func() (bool, error) {
		var err error
		l, err = r.readLedger(ctx)
		return err == nil && l.atRest(), err
	})
	return l, unsettled
}

// atRest says that nothing is going to happen to the orders any more.
func (l *ledger) atRest() bool { return l.pending == 0 && l.queued == 0 }

// completedSQL counts the orders that are completed, of those that were answered with an id and a time and are still what was ordered.
const completedSQL = `
select count(*)
from unnest($2::bigint[], $3::timestamptz[], $4::text[]) as probe (id, created_at, product_name)
join public.orders as o using (id, created_at, product_name)
where o.customer_name = $1 and o.status = 'completed'`

// completed is how many of a prober's orders are.
func (r *Rig) completed(ctx context.Context, customer string, probes []probe) (int64, error) {
	ids, times, products := make([]int64, len(probes)), make([]time.Time, len(probes)), make([]string, len(probes))
	for i, one := range probes {
		ids[i], times[i], products[i] = one.order.ID, one.order.CreatedAt, one.product
	}
	return r.scalar(ctx, completedSQL, customer, ids, times, products)
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
