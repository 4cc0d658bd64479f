package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const publishSQL = `with o as (
	insert into public.orders (customer_name, product_name, quantity, price) values ($1, $2, 1, 9.5)
	returning id, customer_name, product_name, quantity, price, created_at)
select pgmq.send('order_queue', jsonb_build_object('order_id', id, 'customer_name', customer_name, 'product_name', product_name,
	'quantity', quantity, 'price', price, 'created_at', created_at)) from o`

// publishDirectly is what a program does that has no api before its database: an order and its message in one statement, on each of some
// connections.
func (b *Bench) publishDirectly(connections int) contender {
	return contender{
		name: fmt.Sprintf("SQL, one statement an order, %s", onConnections(connections)),
		measure: func(ctx context.Context) (figures, error) {
			return b.loop(ctx, connections, func(ctx context.Context, conn *pgx.Conn, n int) (int, error) {
				_, err := conn.Exec(ctx, publishSQL, fmt.Sprintf("Customer %d", n), fmt.Sprintf("Product %d", n))
				return 1, err
			})
		},
	}
}

const consumeSQL = `with m as materialized (
		select msg_id, (message->>'order_id')::bigint as order_id from pgmq.read('order_queue', 30, 1)),
	o as (update public.orders set status = 'completed', completed_at = clock_timestamp(), attempts = 1, effects = effects + 1
		where id = (select order_id from m) returning id)
select count(*) filter (where pgmq.delete('order_queue', m.msg_id)) from m`

// consumeDirectly reads, completes and deletes one message a statement.
func (b *Bench) consumeDirectly() contender {
	const connections, orders = 8, 60_000
	return contender{
		name: fmt.Sprintf("SQL, one statement a message, %d connections", connections),
		measure: func(ctx context.Context) (figures, error) {
			if err := b.fill(ctx, orders, 0); err != nil {
				return figures{}, err
			}
			return b.loop(ctx, connections, func(ctx context.Context, conn *pgx.Conn, _ int) (int, error) {
				var n int
				err := conn.QueryRow(ctx, consumeSQL).Scan(&n)
				return n, err
			})
		},
	}
}

// loop runs a statement again and again on a number of connections, each of which ends early when it finds nothing left to do.
func (b *Bench) loop(ctx context.Context, connections int, once func(ctx context.Context, conn *pgx.Conn, n int) (int, error)) (figures, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		conn, err := pgx.Connect(ctx, b.DatabaseURL)
		if err != nil {
			return figures{}, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[i] = conn
	}
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	started := time.Now()
	end := started.Add(b.Span)
	var work sync.WaitGroup
	for i, conn := range conns {
		work.Go(func() {
			for n, begin := i, time.Now(); begin.Before(end); n += connections {
				done, err := once(ctx, conn, n)
				if err != nil {
					errs[i] = err
					cancel()
					return
				}
				if done == 0 {
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(begin))
				begin = now
			}
		})
	}
	work.Wait()
	return closedLoop(slices.Concat(took...), time.Since(started), 1), errors.Join(errs...)
}

// closedLoop are the figures of requests of so many orders each that took so long.
func closedLoop(took []time.Duration, span time.Duration, orders int) figures {
	if len(took) == 0 {
		return figures{}
	}
	slices.Sort(took)
	return figures{rate: float64(len(took)*orders) / span.Seconds(), p50: took[len(took)/2], p99: took[len(took)*99/100]}
}

// onConnections says over how many.
func onConnections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}
