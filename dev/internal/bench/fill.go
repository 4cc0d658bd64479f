package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// someOrders are orders like any other, for measurements that look at the queue.
const someOrders = `'Customer ' || n as customer_name, 'Product ' || n as product_name, 1 as quantity, 9.5 as price, null::text as idempotency_key`

// ordersOfYears have customers that come again and again, in no order, and half of them idempotency keys, which are random.
const ordersOfYears = `'Customer ' || (random() * 100000)::integer as customer_name, 'Product ' || (random() * 1000)::integer as product_name,
	1 + (random() * 9)::integer as quantity, (random() * 500)::numeric(12, 2) as price,
	case when random() < 0.5 then gen_random_uuid()::text end as idempotency_key`

// send is the statement that inserts so many orders and their messages, due after a delay: as the api's, in one statement for many. With a
// call of pgmq.send for each, filling took longer than what was to be measured.
func send(orders string, count int, delay time.Duration) string {
	return fmt.Sprintf(`
		with fresh as materialized (
			select nextval(pg_get_serial_sequence('public.orders', 'id')) as id, nextval(pg_get_serial_sequence('pgmq.q_order_queue', 'msg_id')) as msg_id,
			       clock_timestamp() as created_at, %s
			  from generate_series(1, %d) as n),
		sent as (
			insert into pgmq.q_order_queue (msg_id, enqueued_at, vt, message, headers)
			overriding system value
			select msg_id, created_at, created_at + make_interval(secs => %d),
			       jsonb_build_object('order_id', id, 'customer_name', customer_name, 'product_name', product_name, 'quantity', quantity, 'price', price,
			                          'created_at', to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')),
			       '{"schema": 1}'
			  from fresh)
		insert into public.orders (id, customer_name, product_name, quantity, price, created_at, message_id, idempotency_key)
		select id, customer_name, product_name, quantity, price, created_at, msg_id, idempotency_key from fresh`, orders, count, int(delay.Seconds()))
}

const chunk = 50_000 // orders in one statement

// fill puts orders and their messages into the database, due after a delay, and leaves it as if they had been there for long.
func (b *Bench) fill(ctx context.Context, orders int, delay time.Duration) error {
	for ; orders > 0; orders -= chunk {
		if err := b.execute(ctx, send(someOrders, min(orders, chunk), delay)); err != nil {
			return err
		}
	}
	return b.execute(ctx, "vacuum (analyze) public.orders", "vacuum (analyze) pgmq.q_order_queue", "checkpoint")
}

// past inserts orders with the ids from first to last that were completed long ago, the last of so many a second ago and each a second after the
// one before.
func past(first, last, of int) string {
	return fmt.Sprintf(`
		insert into public.orders
			(id, customer_name, product_name, quantity, price, created_at, message_id, idempotency_key, status, attempts, effects, completed_at, processed_by)
		overriding system value
		select o.n, o.customer_name, o.product_name, o.quantity, o.price, o.at, o.n, o.idempotency_key, 'completed', 1, 1, o.at + interval '1 second', 'consumer-1'
		  from (select n, now() - make_interval(secs => %d - n) as at, %s from generate_series(%d, %d) as n) as o`, of, ordersOfYears, first, last)
}

// grow fills the database: first with orders that were completed long ago, and then with orders that a consumer completes.
//
// Indexes that completing an order does not write are made at the end. While they are there, each order touches other pages of them, which go
// to the log as a whole after each checkpoint: seven times the log, and by far the most of the time.
func (g *Growth) grow(ctx context.Context) error {
	if err := stack.CreateEffects(ctx, g.DatabaseURL, 0, false); err != nil {
		return err
	}
	if err := stack.CreateEffects(ctx, g.FreshURL, 0, false); err != nil {
		return err
	}
	began := time.Now()
	indexes, err := g.dropIndexes(ctx)
	if err != nil {
		return err
	}
	written := max(g.Orders-g.Messages, 0)
	if err := g.writePast(ctx, written); err != nil {
		return fmt.Errorf("completed orders: %w", err)
	}
	g.Say("growth: %d of %d orders after %s", written, g.Orders, time.Since(began).Round(time.Second))
	if err := g.throughQueue(ctx, began); err != nil {
		return fmt.Errorf("messages through the queue: %w", err)
	}
	if err := g.execute(ctx, append([]string{"set maintenance_work_mem = '512MB'"}, indexes...)...); err != nil {
		return err
	}
	// A few of what is rare, so that it has to be looked for.
	err = g.execute(ctx,
		`update public.orders set status = 'pending', completed_at = null, effects = 0 where id = (select min(id) from public.orders)`,
		`with o as (update public.orders set status = 'dead', completed_at = null, effects = 0, dead_at = now(), last_error = 'failed for good' where id % 10007 = 0 returning *)
		 select count(*) from (select pgmq.send('order_queue_dlq', to_jsonb(o) - 'id' || jsonb_build_object('order_id', o.id),
		   jsonb_build_object('orderflow-dead', jsonb_build_object('reason', 'max_attempts', 'error', o.last_error, 'queue', 'order_queue', 'attempts', 5))) from o) as sent`,
		"vacuum (analyze) public.orders", "vacuum (analyze) pgmq.q_order_queue", "vacuum (analyze) pgmq.q_order_queue_dlq")
	if err != nil {
		return err
	}
	if err := g.lookedAt(ctx); err != nil {
		return fmt.Errorf("what the api has looked at: %w", err)
	}
	g.Say("growth: filled after %s", time.Since(began).Round(time.Second))
	return g.execute(ctx, "checkpoint")
}

// lookedAt notes what an api that was there for all the years has noted: which orders the search for stranded ones has passed, and the balance of
// each range. Otherwise it would begin with that beside the first measurement, and take a fifth of a connection's time for minutes.
func (g *Growth) lookedAt(ctx context.Context) error {
	// Each look goes as far as there were orders at the one before.
	err := g.with(ctx, func(conn *pgx.Conn) error {
		for behind := true; behind; {
			if err := conn.QueryRow(ctx, `
				select l.more or (select s.position from orderflow.order_scan s) < (select max(id) from public.orders)
				  from orderflow.look_for_stranded('order_queue', 500000) l`).Scan(&behind); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.execute(ctx, `
		insert into orderflow.order_counts (queue, first_id, completed, dead, under_way, lost, begun_at)
		select 'order_queue', id / 10000 * 10000, count(*) filter (where status = 'completed'), count(*) filter (where status = 'dead'),
		       count(*) filter (where status = 'pending'), 0, now() - interval '1 day'
		  from public.orders group by 2`)
}

// dropIndexes drops those indexes of the orders that completing one does not write, and returns what makes them again.
func (g *Growth) dropIndexes(ctx context.Context) (again []string, err error) {
	err = g.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
			  from pg_index where indrelid = 'public.orders'::regclass and not indisprimary`)
		if err != nil {
			return err
		}
		indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Definition string }])
		if err != nil {
			return err
		}
		for _, index := range indexes {
			if _, err := conn.Exec(ctx, "drop index "+index.Name); err != nil {
				return err
			}
			again = append(again, index.Definition)
		}
		return nil
	})
	return again, err
}

// writePast writes so many orders that were completed long ago, on two connections.
//
// They are as dense as orders that came in and were completed then: a page is filled up to the table's fillfactor by their first versions, and the
// second ones, which stay, are longer. Written at that fillfactor as they are now, each page would have room for one more first version: new
// orders would go there, each to a page of its own and so with an image of it in the log, until all pages have one.
func (g *Growth) writePast(ctx context.Context, orders int) (err error) {
	const completed = 50 // per cent of a page at the migration's fillfactor of 40
	var fillfactor string
	if err := g.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select option_value from pg_class, pg_options_to_table(reloptions) where oid = 'public.orders'::regclass and option_name = 'fillfactor'`).Scan(&fillfactor)
	}); err != nil {
		return fmt.Errorf("read the orders' fillfactor: %w", err)
	}
	if err := g.execute(ctx, fmt.Sprintf("alter table public.orders set (fillfactor = %d)", completed)); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, g.execute(ctx, "alter table public.orders set (fillfactor = "+fillfactor+")"))
	}()
	const writers = 2
	errs := make([]error, writers)
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for n := w * chunk; n < orders && errs[w] == nil; n += writers * chunk {
				errs[w] = g.execute(ctx, "set synchronous_commit = off", past(n+1, min(n+chunk, orders), orders))
			}
		})
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if orders == 0 {
		return nil
	}
	return g.execute(ctx, fmt.Sprintf("select setval(pg_get_serial_sequence('public.orders', 'id'), %d)", orders))
}

// throughQueue sends messages and lets a consumer process them, all the time beside each other.
func (g *Growth) throughQueue(ctx context.Context, began time.Time) error {
	if g.Messages == 0 {
		return nil
	}
	s := g.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // stopped below, too, where it counts
	if _, err := s.StartConsumer(ctx, "consumer", atItsBest...); err != nil {
		return err
	}
	const most = 4 * chunk // that wait at a time
	for sent := 0; sent < g.Messages; {
		if err := g.waiting(ctx, most-chunk); err != nil {
			return err
		}
		next := min(chunk, g.Messages-sent)
		if err := g.execute(ctx, "set synchronous_commit = off", send(ordersOfYears, next, 0)); err != nil {
			return err
		}
		if sent += next; sent%(10*chunk) == 0 {
			g.Say("growth: %d of %d messages sent after %s", sent, g.Messages, time.Since(began).Round(time.Second))
		}
	}
	if err := g.waiting(ctx, 0); err != nil {
		return err
	}
	return s.Stop(context.WithoutCancel(ctx))
}

// waiting waits until no more messages than that are in the queue.
func (g *Growth) waiting(ctx context.Context, most int) error {
	return g.with(ctx, func(conn *pgx.Conn) error {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			var more bool
			if err := conn.QueryRow(ctx, "select exists (select from pgmq.q_order_queue offset $1)", most).Scan(&more); err != nil || !more {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}
