// Package bench measures Orderflow against what the same Postgres does in the same minute when it is asked directly, order by order:
// the ratio says what the design gains or costs, on any machine. Rates alone would only describe the machine.
//
// It must never judge: figures are for people, and no test depends on them.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// Bench is what a run needs.
type Bench struct {
	Session     *session.Session
	Binaries    stack.Binaries
	DatabaseURL string // migrated, private, and nobody else's
	Span        time.Duration
	Clients     int // of the api, and connections of the baseline
	Say         func(format string, args ...any)
}

// Row is one line of the table.
type Row struct {
	What     string
	Rate     float64 // orders per second
	Baseline string  // the row that Ratio compares with
	Ratio    float64
	Note     string
}

// Run measures everything, one thing at a time.
func (b *Bench) Run(ctx context.Context) ([]Row, error) {
	b.Say("bench: publishing order by order, straight to Postgres")
	single, err := b.publishDirectly(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("bench: publishing through the api")
	published, err := b.publish(ctx, 0)
	if err != nil {
		return nil, err
	}
	b.Say("bench: consuming message by message, straight from Postgres")
	consumedSingle, err := b.consumeDirectly(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("bench: consuming with one consumer")
	consumed, err := b.consume(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("bench: from POST to completed")
	together, err := b.publish(ctx, 1)
	if err != nil {
		return nil, err
	}
	clients := strconv.Itoa(b.Clients)
	return []Row{
		{What: "publish, SQL, one transaction an order", Rate: single, Note: clients + " connections"},
		{What: "publish, POST /orders", Rate: published.rate, Baseline: "SQL", Ratio: published.rate / single, Note: clients + " clients, one api"},
		{What: "consume, SQL, one transaction a message", Rate: consumedSingle, Note: "8 connections: read, complete, delete"},
		{What: "consume, one consumer", Rate: consumed, Baseline: "SQL", Ratio: consumed / consumedSingle, Note: "effect included"},
		{
			What: "from POST to completed", Rate: together.rate, Baseline: "publish, SQL", Ratio: together.rate / single,
			Note: fmt.Sprintf("p50 %v, p99 %v", together.p50.Round(time.Millisecond), together.p99.Round(time.Millisecond)),
		},
	}, nil
}

// Table prints the rows.
func Table(out io.Writer, rows []Row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\torders/s\tratio\tnote")
	for _, r := range rows {
		ratio := "1 (baseline)"
		if r.Baseline != "" {
			ratio = fmt.Sprintf("%.2f × %s", r.Ratio, r.Baseline)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\n", r.What, r.Rate, ratio, r.Note)
	}
	_ = w.Flush() // what it writes to cannot be told anything
}

// loop runs a statement again and again on a number of connections and returns how often a second it counted something.
func (b *Bench) loop(ctx context.Context, connections int, once func(ctx context.Context, conn *pgx.Conn, n int) (int64, error)) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		conn, err := pgx.Connect(ctx, b.DatabaseURL)
		if err != nil {
			return 0, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[i] = conn
	}
	var total atomic.Int64
	errs := make([]error, connections)
	started := time.Now()
	end := started.Add(b.Span)
	var work sync.WaitGroup
	for i, conn := range conns {
		work.Go(func() {
			for n := i; time.Now().Before(end); n += connections {
				done, err := once(ctx, conn, n)
				if err != nil {
					errs[i] = err
					cancel()
					return
				}
				if done == 0 {
					return // nothing left to do
				}
				total.Add(done)
			}
		})
	}
	work.Wait()
	return float64(total.Load()) / time.Since(started).Seconds(), errors.Join(errs...)
}

const publishSQL = `with o as (
	insert into public.orders (customer_name, product_name, quantity, price) values ($1, $2, 1, 9.5)
	returning id, customer_name, product_name, quantity, price, created_at)
select pgmq.send('order_queue', jsonb_build_object('order_id', id, 'customer_name', customer_name, 'product_name', product_name,
	'quantity', quantity, 'price', price, 'created_at', created_at)) from o`

// publishDirectly is what a program does that has no api before its database: an order and its message in one transaction.
func (b *Bench) publishDirectly(ctx context.Context) (float64, error) {
	rate, err := b.loop(ctx, b.Clients, func(ctx context.Context, conn *pgx.Conn, n int) (int64, error) {
		_, err := conn.Exec(ctx, publishSQL, fmt.Sprintf("Customer %d", n), fmt.Sprintf("Product %d", n))
		return 1, err
	})
	return rate, errors.Join(err, b.clear(ctx))
}

const consumeSQL = `with m as materialized (
		select msg_id, (message->>'order_id')::bigint as order_id from pgmq.read('order_queue', 30, 1)),
	o as (update public.orders set status = 'completed', completed_at = clock_timestamp(), attempts = 1, effects = effects + 1
		where id = (select order_id from m) returning id)
select count(*) filter (where pgmq.delete('order_queue', m.msg_id)) from m`

// consumeDirectly reads, completes and deletes one message at a time.
func (b *Bench) consumeDirectly(ctx context.Context) (float64, error) {
	if err := b.fill(ctx, 60_000); err != nil {
		return 0, err
	}
	rate, err := b.loop(ctx, 8, func(ctx context.Context, conn *pgx.Conn, _ int) (int64, error) {
		var n int64
		err := conn.QueryRow(ctx, consumeSQL).Scan(&n)
		return n, err
	})
	return rate, errors.Join(err, b.clear(ctx))
}

// consume lets one consumer without simulated work empty a full queue, as fast as it can.
func (b *Bench) consume(ctx context.Context) (float64, error) {
	const orders = 60_000
	if err := b.fill(ctx, orders); err != nil {
		return 0, err
	}
	s := b.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the figure stands
	if _, err := s.StartConsumer(ctx, "consumer-1", quickConsumer...); err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, b.DatabaseURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var left bool
		if err := conn.QueryRow(ctx, "select exists (select from pgmq.q_order_queue)").Scan(&left); err != nil {
			return 0, err
		}
		if !left {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	var seconds float64
	err = conn.QueryRow(ctx, "select extract(epoch from max(completed_at) - min(completed_at))::float8 from public.orders").Scan(&seconds)
	return orders / max(seconds, 0.001), errors.Join(err, b.clear(ctx))
}

// quickConsumer is a consumer whose handlers take no time: what is left is the queue.
var quickConsumer = []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none", "BATCH_SIZE=500", "CONCURRENCY=64"}

type published struct {
	rate     float64
	p50, p99 time.Duration
}

// publish sends orders through the api as fast as they are answered; with a consumer it counts what is completed meanwhile.
func (b *Bench) publish(ctx context.Context, consumers int) (published, error) {
	s := b.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the figure stands
	api, err := s.StartAPI(ctx, "api")
	if err != nil {
		return published{}, err
	}
	for i := range consumers {
		if _, err := s.StartConsumer(ctx, fmt.Sprintf("consumer-%d", i+1), quickConsumer...); err != nil {
			return published{}, err
		}
	}
	audit := strconv.FormatBool(consumers > 0)
	loadgen, err := s.Loadgen(api, nil, "ORDERS=0", "DURATION="+b.Span.String(), "CONCURRENCY="+strconv.Itoa(b.Clients),
		"AUDIT="+audit, "PROGRESS=off", "RUN_ID=bench")
	if err != nil {
		return published{}, err
	}
	code, err := loadgen.Wait(ctx)
	if err != nil {
		loadgen.Kill()
		return published{}, err
	}
	if code != 0 {
		return published{}, loadgen.Failure()
	}
	conn, err := pgx.Connect(ctx, b.DatabaseURL)
	if err != nil {
		return published{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var orders, seconds, p50, p99 float64
	err = conn.QueryRow(ctx, `select count(*)::float8, coalesce(extract(epoch from max(coalesce(completed_at, created_at)) - min(created_at)), 0)::float8,
		coalesce(percentile_cont(0.5) within group (order by extract(epoch from completed_at - created_at)), 0)::float8,
		coalesce(percentile_cont(0.99) within group (order by extract(epoch from completed_at - created_at)), 0)::float8
		from public.orders`).Scan(&orders, &seconds, &p50, &p99)
	if err != nil {
		return published{}, err
	}
	result := published{
		rate: orders / max(seconds, 0.001),
		p50:  time.Duration(p50 * float64(time.Second)), p99: time.Duration(p99 * float64(time.Second)),
	}
	return result, b.clear(ctx)
}

func (b *Bench) stack() *stack.Stack {
	return stack.New(stack.Options{
		Session: b.Session, Binaries: b.Binaries, DatabaseURL: b.DatabaseURL, Env: []string{"LOG_LEVEL=warn", "LOG_FORMAT=json"},
	})
}

// fill puts orders and their messages into the empty database.
func (b *Bench) fill(ctx context.Context, orders int) error {
	return b.execute(ctx, fmt.Sprintf(`with o as (
			insert into public.orders (customer_name, product_name, quantity, price)
			select 'Customer ' || n, 'Product ' || n, 1, 9.5 from generate_series(1, %d) n
			returning id, customer_name, product_name, quantity, price, created_at)
		select count(*) from pgmq.send_batch('order_queue', (select array_agg(jsonb_build_object('order_id', id,
			'customer_name', customer_name, 'product_name', product_name, 'quantity', quantity, 'price', price,
			'created_at', created_at)) from o))`, orders),
		"vacuum (analyze) public.orders", "vacuum (analyze) pgmq.q_order_queue", "checkpoint")
}

// clear makes each measurement start on an empty database.
func (b *Bench) clear(ctx context.Context) error {
	return b.execute(ctx, "truncate public.orders, pgmq.q_order_queue, pgmq.q_order_queue_dlq", "checkpoint")
}

func (b *Bench) execute(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, b.DatabaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%.40s…: %w", sql, err)
		}
	}
	return nil
}
