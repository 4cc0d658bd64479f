package housekeeping

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// look takes a step of the search for stranded orders, and reads what is known of them.
func (k *Keeper) look(ctx context.Context, tx pgx.Tx, size int) (more bool, news func(*State), err error) {
	if err := tx.QueryRow(ctx, `select l.more from orderflow.look_for_stranded($1, $2) l`, k.opts.Queue, size).Scan(&more); err != nil {
		return false, nil, fmt.Errorf("look for stranded orders: %w", err)
	}
	if more {
		return true, nil, nil
	}
	var stranded int64
	var lookedAt *time.Time
	err = tx.QueryRow(ctx, `
		select (select coalesce(sum(cardinality(b.stranded)), 0) from orderflow.open_blocks b), (select s.looked_at from orderflow.order_scan s)`,
	).Scan(&stranded, &lookedAt)
	if err != nil {
		return false, nil, fmt.Errorf("read how many orders are stranded: %w", err)
	}
	if stranded > 0 && k.State().Stranded == 0 {
		k.opts.Log.WarnContext(ctx, "orders are pending without a message, and nobody will process them: `api requeue` lists them, and gives them new ones",
			"orders", stranded)
	}
	return false, func(s *State) {
		s.Stranded = stranded
		if lookedAt != nil {
			s.LookedAt = *lookedAt
		}
	}, nil
}

// Stranded is a pending order whose message is gone.
type Stranded struct {
	ID       int64
	Created  time.Time
	Attempts int
}

// page is how many orders are looked at together, and batch how many get their message in one transaction.
const (
	page  = 20_000
	batch = 500
)

// FindStranded looks at all orders, one page after another, and hands over those that have been pending without a message for longer than
// olderThan. It returns how many orders it has looked at.
//
// Unlike the search that goes on in the background, it takes the longer the more orders there are: about a second a million.
func FindStranded(ctx context.Context, conn *pgx.Conn, queue string, olderThan time.Duration, found func([]Stranded) error) (looked int64, err error) {
	for after := int64(0); ; {
		var last, n int64
		var pending []int64
		err := conn.QueryRow(ctx, `
			select
				coalesce(max(p.id), 0), count(*),
				coalesce(array_agg(p.id) filter (where p.status = 'pending'
					and (p.created_at <= clock_timestamp() - $3::interval or p.created_at > clock_timestamp() + interval '1 day')), '{}')
			from (select o.id, o.status, o.created_at from public.orders o where o.id > $1 order by o.id limit $2) p`,
			after, page, olderThan).Scan(&last, &n, &pending)
		if err != nil {
			return looked, fmt.Errorf("look at orders after %d: %w", after, err)
		}
		looked += n
		if len(pending) > 0 {
			rows, err := conn.Query(ctx, `
				select o.id, case when isfinite(o.created_at) then greatest(o.created_at, '0001-01-01Z') else '0001-01-01Z' end, o.attempts
				from public.orders o
				where o.id = any ((select orderflow.without_message($1, $2))::bigint[])
				order by o.id`, queue, pending)
			if err != nil {
				return looked, fmt.Errorf("look for messages: %w", err)
			}
			stranded, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Stranded])
			if err != nil {
				return looked, fmt.Errorf("look for messages: %w", err)
			}
			if len(stranded) > 0 {
				if err := found(stranded); err != nil {
					return looked, err
				}
			}
		}
		if n < page {
			return looked, nil
		}
		after = last
	}
}

// Requeue gives new messages to those of the orders that are still pending, without a message and older than olderThan, and returns how
// many that were. sign says in each transaction who does it. It is safe beside consumers at work, and beside itself.
func Requeue(ctx context.Context, conn *pgx.Conn, queue string, olderThan time.Duration, orders []Stranded, sign func(context.Context, pgx.Tx) error) (requeued int64, err error) {
	for first := 0; first < len(orders); first += batch {
		var ids []int64
		for _, o := range orders[first:min(first+batch, len(orders))] {
			ids = append(ids, o.ID)
		}
		var n int64
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := sign(ctx, tx); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `select count(*) from orderflow.requeue($1, $2, clock_timestamp() - $3::interval)`, queue, ids, olderThan).Scan(&n)
		})
		if err != nil {
			return requeued, fmt.Errorf("requeue: %w", err)
		}
		requeued += n
	}
	return requeued, nil
}
