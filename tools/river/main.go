// River measures River (riverqueue.com), a queue in Postgres for Go, at the work that Orderflow does, so that anybody can check the
// comparison in `make bench/river`. It prints its figures as JSON:
//
//	river insert   an order and its job in a transaction, on -connections connections, for -span
//	river batch    1,000 orders and their jobs in a transaction: COPY and InsertManyFastTx
//	river jobs     jobs alone, without orders, by InsertManyFast, 1,000 a call
//	river noop     -jobs jobs worked on that do nothing
//	river orders   -jobs jobs worked on, each of which completes the row of its order, in the transaction that completes the job
//
// The database in DATABASE_URL is its own: what is in it is deleted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// fulfil is a job: an order as Orderflow's messages have it.
type fulfil struct {
	OrderID      int64   `json:"order_id"`
	CustomerName string  `json:"customer_name"`
	ProductName  string  `json:"product_name"`
	Quantity     int     `json:"quantity"`
	Price        float64 `json:"price"`
}

func (fulfil) Kind() string { return "fulfil" }

func order(n int64) fulfil {
	return fulfil{n, fmt.Sprintf("Customer %d", n), fmt.Sprintf("Product %d", n), 2, 19.99}
}

// worker works on a job, and counts it.
type worker struct {
	river.WorkerDefaults[fulfil]
	pool *pgxpool.Pool // nil: the job does nothing
	done chan<- struct{}
}

func (w *worker) Work(ctx context.Context, job *river.Job[fulfil]) error {
	if w.pool != nil {
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update orders set status = 'completed', completed_at = clock_timestamp(), attempts = 1, effects = effects + 1 where id = $1`, job.Args.OrderID)
			if err != nil {
				return err
			}
			_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
			return err
		})
		if err != nil {
			return err
		}
	}
	w.done <- struct{}{}
	return nil
}

// figures is what is printed: seconds for the medians.
type figures struct {
	Rate float64 `json:"rate"` // a second
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("insert, batch, jobs, noop or orders?")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	connections := flags.Int("connections", 16, "connections, and goroutines that insert")
	span := flags.Duration("span", 5*time.Second, "how long to insert")
	jobs := flags.Int64("jobs", 50_000, "jobs to work on")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}

	cfg, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	cfg.MaxConns = int32(*connections) //nolint:gosec // a person's number of connections
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := prepare(ctx, pool); err != nil {
		return err
	}

	var got figures
	switch args[0] {
	case "insert":
		got, err = insert(ctx, pool, *connections, *span, one)
	case "batch":
		got, err = insert(ctx, pool, *connections, *span, many)
	case "jobs":
		got, err = insert(ctx, pool, *connections, *span, jobsAlone)
	case "noop":
		got, err = work(ctx, pool, nil, *jobs)
	case "orders":
		got, err = work(ctx, pool, pool, *jobs)
	default:
		return fmt.Errorf("%q: insert, batch, jobs, noop or orders?", args[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// prepare makes River's tables, and one of orders as Orderflow has it, and empties them.
func prepare(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `
		create table if not exists orders (
			id bigint primary key, customer_name text, product_name text, quantity integer, price numeric(12, 2),
			created_at timestamptz not null default clock_timestamp(),
			status text not null default 'pending', attempts integer not null default 0, effects integer not null default 0, completed_at timestamptz
		) with (fillfactor = 40);
		create index if not exists orders_customer_name_id_idx on orders (customer_name, id);
		truncate orders, river_job;
		checkpoint`)
	return err
}

// batch is how many orders or jobs a call has that has many.
const batch = 1000

// inserter inserts as many as it returns. next draws the ids of orders: they cost River nothing.
type inserter func(ctx context.Context, client *river.Client[pgx.Tx], pool *pgxpool.Pool, next *atomic.Int64) (int, error)

// one inserts an order and its job.
func one(ctx context.Context, client *river.Client[pgx.Tx], pool *pgxpool.Pool, next *atomic.Int64) (int, error) {
	return 1, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		o := order(next.Add(1))
		_, err := tx.Exec(ctx, `insert into orders (id, customer_name, product_name, quantity, price) values ($1, $2, $3, $4, $5)`,
			o.OrderID, o.CustomerName, o.ProductName, o.Quantity, o.Price)
		if err != nil {
			return err
		}
		_, err = client.InsertTx(ctx, tx, o, nil)
		return err
	})
}

// many inserts orders and their jobs, in the quickest way that there is: COPY for both.
func many(ctx context.Context, client *river.Client[pgx.Tx], pool *pgxpool.Pool, next *atomic.Int64) (int, error) {
	params := jobs(next)
	return batch, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		columns := []string{"id", "customer_name", "product_name", "quantity", "price"}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"orders"}, columns, pgx.CopyFromSlice(batch, func(i int) ([]any, error) {
			o := params[i].Args.(fulfil)
			return []any{o.OrderID, o.CustomerName, o.ProductName, o.Quantity, o.Price}, nil
		}))
		if err != nil {
			return err
		}
		_, err = client.InsertManyFastTx(ctx, tx, params)
		return err
	})
}

// jobsAlone inserts jobs of orders that there are not: less work than Orderflow does.
func jobsAlone(ctx context.Context, client *river.Client[pgx.Tx], _ *pgxpool.Pool, next *atomic.Int64) (int, error) {
	_, err := client.InsertManyFast(ctx, jobs(next))
	return batch, err
}

func jobs(next *atomic.Int64) []river.InsertManyParams {
	params := make([]river.InsertManyParams, batch)
	for i := range params {
		params[i].Args = order(next.Add(1))
	}
	return params
}

// insert makes each of some goroutines insert, again and again.
func insert(ctx context.Context, pool *pgxpool.Pool, goroutines int, span time.Duration, call inserter) (figures, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return figures{}, err
	}
	var next, inserted atomic.Int64
	took := make([][]time.Duration, goroutines)
	errs := make([]error, goroutines)
	started := time.Now()
	end := started.Add(span)
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for begin := time.Now(); begin.Before(end) && errs[i] == nil; {
				var n int
				if n, errs[i] = call(ctx, client, pool, &next); errs[i] != nil {
					return
				}
				inserted.Add(int64(n))
				now := time.Now()
				took[i] = append(took[i], now.Sub(begin))
				begin = now
			}
		})
	}
	all.Wait()
	seconds := time.Since(started).Seconds()
	calls := slices.Concat(took...)
	slices.Sort(calls)
	if len(calls) == 0 {
		return figures{}, errors.Join(errs...)
	}
	return figures{float64(inserted.Load()) / seconds, calls[len(calls)/2].Seconds(), calls[len(calls)*99/100].Seconds()}, errors.Join(errs...)
}

// work measures how long a client takes for jobs that wait, from the first that is done to the last.
func work(ctx context.Context, pool, orders *pgxpool.Pool, count int64) (figures, error) {
	done := make(chan struct{}, 1024)
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{pool: orders, done: done})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:  slog.New(slog.DiscardHandler),
		Workers: workers,
		// The quickest that a client may be, and room for what one fetch brings.
		FetchCooldown: river.FetchCooldownMin, FetchPollInterval: 10 * time.Millisecond,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2000}},
	})
	if err != nil {
		return figures{}, err
	}
	for n := int64(0); n < count; n += batch {
		params := make([]river.InsertManyParams, min(batch, count-n))
		for k := range params {
			params[k].Args = order(n + int64(k) + 1)
		}
		if _, err := client.InsertManyFast(ctx, params); err != nil {
			return figures{}, err
		}
	}
	_, err = pool.Exec(ctx, `
		insert into orders (id, customer_name, product_name, quantity, price)
		select n, 'Customer ' || n, 'Product ' || n, 2, 19.99 from generate_series(1, $1::bigint) n`, count)
	if err != nil {
		return figures{}, err
	}
	for _, statement := range []string{"vacuum (analyze) orders", "vacuum (analyze) river_job", "checkpoint"} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return figures{}, err
		}
	}

	if err := client.Start(ctx); err != nil {
		return figures{}, err
	}
	<-done
	first := time.Now()
	for range count - 1 {
		<-done
	}
	rate := float64(count) / time.Since(first).Seconds()
	return figures{Rate: rate}, client.Stop(ctx)
}
