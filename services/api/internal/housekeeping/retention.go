package housekeeping

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/queue"
)

// rest is how long it takes from one pass to the next: what has to go goes at most that much later.
func rest(retention time.Duration) time.Duration {
	return min(max(retention/100, 10*time.Second), 10*time.Minute)
}

func (k *Keeper) expireOrders(ctx context.Context, tx pgx.Tx, size int) (more bool, news func(*State), err error) {
	var deleted int64
	keep := k.opts.OrderRetention
	err = tx.QueryRow(ctx, `select e.more, e.orders_deleted from orderflow.expire_orders($1, clock_timestamp() - $2::interval, $3, $4) e`,
		k.opts.Queue, keep, size, rest(keep)).Scan(&more, &deleted)
	if err != nil {
		return false, nil, fmt.Errorf("delete orders: %w", err)
	}
	return more, func(s *State) { s.OrdersDeleted += deleted }, nil
}

func (k *Keeper) expireDeadLetters(ctx context.Context, tx pgx.Tx, size int) (more bool, news func(*State), err error) {
	var letters, deleted int64
	keep := k.opts.DeadLetterRetention
	err = tx.QueryRow(ctx, `
		select e.more, e.letters_deleted, e.orders_deleted from orderflow.expire_dead_letters($1, clock_timestamp() - $2::interval, $3, $4) e`,
		k.opts.Queue, keep, size, rest(keep)).Scan(&more, &letters, &deleted)
	if err != nil {
		return false, nil, fmt.Errorf("delete dead letters: %w", err)
	}
	return more, func(s *State) {
		s.LettersDeleted += letters
		s.OrdersDeleted += deleted
	}, nil
}

// Due is what is older than it has to be kept, beside all of its kind. It may be a few more than what will be deleted: an order that has a
// message stays.
type Due struct {
	Completed, Orders   int64
	AllLetters, Letters int64
	Dead, DeadOrders    int64
}

// CountDue counts what is due. It reads the whole table of orders.
func CountDue(ctx context.Context, conn *pgx.Conn, name string, orders, deadLetters time.Duration) (Due, error) {
	var d Due
	_, dlq := queue.Tables(name)
	err := conn.QueryRow(ctx, `
		select
			count(*) filter (where o.status = 'completed'),
			count(*) filter (where o.status = 'completed' and $1::interval > '0' and o.completed_at < clock_timestamp() - $1::interval),
			count(*) filter (where o.status = 'dead'),
			count(*) filter (where o.status = 'dead' and $2::interval > '0' and o.dead_at < clock_timestamp() - $2::interval),
			(select count(*) from `+dlq+`),
			(select count(*) from `+dlq+` d where $2::interval > '0' and d.enqueued_at < clock_timestamp() - $2::interval)
		from public.orders o`, orders, deadLetters).Scan(&d.Completed, &d.Orders, &d.Dead, &d.DeadOrders, &d.AllLetters, &d.Letters)
	if err != nil {
		return Due{}, fmt.Errorf("count what is due: %w", err)
	}
	return d, nil
}
