package dashboard

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// The balance says whether every accepted order is accounted for: completed, dead, or pending with its message in the queue. An order that
// is pending without a message is lost: nobody will ever process it.
//
// An order and its message are written, completed, buried and redriven in one transaction each. So within one snapshot of the database a
// pending order always has its message, however busy everything is, and looking at both in one statement never gives a false alarm. Nothing
// is compared that was counted at different moments, and no process is trusted: what is read is the tables themselves.
//
// The orders are those of the database. Where several queues share it (another installation, the FastAPI example beside), nothing in a
// completed order says whose it was; so all are counted, and a pending one has its message in any of the queues. What judges is the
// database's function orderflow.without_message, as in the search for stranded orders (internal/housekeeping). They walk apart: the search
// must find whatever is committed late, however long that takes, and knows no totals; here the totals are wanted now.
//
// Counting them all would take minutes when they are large. So ids are looked at in ranges of 10,000 (orderflow.order_counts): new ones;
// then those again in which something is open, the one that was looked at longest ago first; and of the settled ones a few each time. A
// redrive, a deleted message or a removed order is thus noticed in the next round of its range, which is within seconds for what is under way.
const rangeSize = 10_000

// topID is where absurd ids begin, likewise below its negative: a sequence has not given them out, and a range that begins there may have no
// end. What a hand has written there is not counted, as it is not searched (migration 00012).
const topID = 1 << 62

// How much of the database's time counting may take, of the five seconds between two samples.
const (
	countBudget   = 100 * time.Millisecond
	catchUpBudget = 400 * time.Millisecond // while there are orders that have never been looked at
	settledRanges = 2                      // looked at again each time
)

// recount looks at ranges until the budget is spent; at the newest one in any case.
func (s *sampler) recount(ctx context.Context) error {
	began := time.Now()
	for time.Since(began) < catchUpBudget {
		first, found, err := s.unseen(ctx)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		if err := s.count(ctx, first); err != nil {
			return err
		}
	}
	due, err := s.due(ctx)
	if err != nil {
		return fmt.Errorf("look for ranges to count: %w", err)
	}
	for i, first := range due {
		if i > 0 && time.Since(began) > countBudget {
			return nil
		}
		if err := s.count(ctx, first); err != nil {
			return err
		}
	}
	return nil
}

// due are the ranges to look at again, the most urgent first: among these what was looked at in a time to come, by a clock that was ahead.
func (s *sampler) due(ctx context.Context) ([]int64, error) {
	rows, err := s.db.Query(ctx, `
		/* orderflow dashboard: open ranges */
		(
			select c.first_id
			from orderflow.order_counts c
			where c.queue = lower($1)
			  and (c.under_way > 0 or c.lost > 0 or c.dead > 0 or c.begun_at > clock_timestamp() - interval '1 minute')
			order by c.first_id = (select max(n.first_id) from orderflow.order_counts n where n.queue = lower($1)) desc,
				c.checked_at <= clock_timestamp(), c.checked_at
			limit 100
		)
		union all
		(
			select c.first_id
			from orderflow.order_counts c
			where c.queue = lower($1) and (c.checked_at < clock_timestamp() - interval '4 seconds' or c.checked_at > clock_timestamp())
			order by c.checked_at <= clock_timestamp(), c.checked_at
			limit $2
		)`, s.queue.Name(), settledRanges)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// unseen is the first range beyond those that are known that has orders.
func (s *sampler) unseen(ctx context.Context) (first int64, found bool, err error) {
	var id *int64
	err = s.db.QueryRow(ctx, `
		/* orderflow dashboard: unseen */
		select (
			select o.id
			from public.orders o
			where o.id >= coalesce((select max(c.first_id) + $2::bigint from orderflow.order_counts c where c.queue = lower($1)), -$3::bigint)
			  and o.id < $3::bigint
			order by o.id
			limit 1
		)`, s.queue.Name(), rangeSize, int64(topID)).Scan(&id)
	if err != nil {
		return 0, false, fmt.Errorf("look for orders that are new: %w", err)
	}
	if id == nil {
		return 0, false, nil
	}
	first = *id / rangeSize * rangeSize
	if first > *id {
		first -= rangeSize
	}
	return first, true, nil
}

// count looks at one range. A range without orders is forgotten: they have been removed.
func (s *sampler) count(ctx context.Context, first int64) error {
	b := &pgx.Batch{}
	b.Queue(`
		/* orderflow dashboard: count */
		insert into orderflow.order_counts as c (queue, first_id, completed, dead, under_way, lost, example)
		select lower($1), $2, o.completed, o.dead, o.pending - cardinality(l.ids), cardinality(l.ids), l.ids[1]
		from (
			select count(*) filter (where o.status = 'completed') as completed,
				count(*) filter (where o.status = 'dead') as dead,
				count(*) filter (where o.status not in ('completed', 'dead')) as pending,
				-- What names no message another program has written, and its message may be any.
				array_agg(o.id) filter (where o.status not in ('completed', 'dead') and o.message_id is not null
					and not exists (select from `+s.queue.Table()+` q where q.msg_id = o.message_id)) as suspect
			from public.orders o
			where o.id >= $2 and o.id < $2::bigint + $3::bigint
		) o
		-- It judges the few in a later snapshot, and that one alone counts.
		cross join lateral (select case when o.suspect is null then '{}' else orderflow.without_message($1, o.suspect) end as ids) l
		on conflict (queue, first_id) do update
		set completed  = excluded.completed,
			dead       = excluded.dead,
			under_way  = excluded.under_way,
			lost       = excluded.lost,
			example    = excluded.example,
			checked_at = clock_timestamp()`, s.queue.Name(), first, rangeSize)
	b.Queue(`
		delete from orderflow.order_counts c
		where c.queue = lower($1) and c.first_id = $2 and c.completed + c.dead + c.under_way + c.lost = 0`, s.queue.Name(), first)
	if err := s.db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("count orders: %w", err)
	}
	return nil
}

// States of the balance.
const (
	stateBalanced = "balanced"
	stateLost     = "lost"
	stateCounting = "counting"
)

// behind is by how many ids counting may be behind the newest order and the balance be called one.
const behind = 20 * rangeSize

// late is from when on the balance says how old it is: three samples. So many orders may be under way that counting them takes longer.
const late = 15 * time.Second

// balance is what the counts mean.
func (c counts) balance(now time.Time) Balance {
	if more := c.Stranded - c.Lost; more > 0 {
		c.Lost, c.UnderWay = c.Stranded, max(0, c.UnderWay-more)
		if c.Example == nil {
			c.Example = c.First
		}
	}
	b := Balance{
		Accepted: c.Completed + c.Dead + c.UnderWay + c.Lost, Completed: c.Completed, Dead: c.Dead, UnderWay: c.UnderWay, Lost: c.Lost,
		Example: c.Example,
	}
	if c.CheckedAt != nil {
		at := micros(*c.CheckedAt)
		b.CheckedAt = &at
		if ago := now.Sub(at.Time); ago > late {
			b.Behind = ago.Round(time.Second)
		}
	}
	switch {
	case c.Lost > 0:
		b.State = stateLost
		b.Words = plural(c.Lost, "accepted order is", "accepted orders are") + " pending without a message: nobody will process " +
			map[bool]string{true: "it", false: "them"}[c.Lost == 1] + "."
		b.Words += " Something else than Orderflow has taken messages out of the queue, or a part of the database was restored. " +
			"`api requeue` says which they are, and gives them new ones."
	case c.NewestID != nil && (c.LastID == nil || *c.NewestID > *c.LastID+behind):
		b.State = stateCounting
		b.Words = "Not all orders have been looked at yet; of those that have been, each is accounted for."
		if c.LastID == nil {
			b.Words = "No order has been looked at yet."
		}
	default:
		b.State = stateBalanced
		b.Words = "Every accepted order is completed, dead or under way."
		if b.Accepted == 0 {
			b.Words = "There are no orders yet."
		}
	}
	return b
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}
