// Package dbtest owns what the tests need of Postgres: a migrated database of its own for each test, and orders in it. It
// must never be imported by anything but tests.
package dbtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
)

// QueueName is the queue that the template has.
const QueueName = "order_queue"

// DB is a database that exists for one test.
type DB struct {
	*pgxpool.Pool
	URL string
	tb  testing.TB
}

// Address is the database's, as the program reads it.
func (d *DB) Address() postgres.Address {
	d.tb.Helper()
	return testdb.Address(d.tb, d.URL)
}

// Proxy is one in front of the database, which can break connections.
func (d *DB) Proxy() *pgproxy.Proxy {
	d.tb.Helper()
	return testdb.Proxy(d.tb, d.URL)
}

// New makes a database from the template and drops it when the test ends.
func New(tb testing.TB) *DB {
	tb.Helper()
	return open(tb, testdb.New(tb))
}

// NewEncoded is New for a database with another encoding.
func NewEncoded(tb testing.TB, encoding string) *DB {
	tb.Helper()
	return open(tb, testdb.NewEncoded(tb, encoding))
}

func open(tb testing.TB, databaseURL string) *DB {
	tb.Helper()
	d := &DB{URL: databaseURL, tb: tb}
	pool, err := pgxpool.New(tb.Context(), d.URL)
	if err != nil {
		tb.Fatalf("connect to test database: %v", err)
	}
	tb.Cleanup(pool.Close)
	d.Pool = pool
	return d
}

// Exec runs a statement that has to work.
func (d *DB) Exec(sql string, arguments ...any) {
	d.tb.Helper()
	if _, err := d.Pool.Exec(context.Background(), sql, arguments...); err != nil {
		d.tb.Fatalf("%s: %v", sql, err)
	}
}

// One returns the single value of a query that has to work.
func One[T any](d *DB, sql string, arguments ...any) T {
	d.tb.Helper()
	rows, err := d.Query(context.Background(), sql, arguments...)
	if err == nil {
		var value T
		if value, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[T]); err == nil {
			return value
		}
	}
	d.tb.Fatalf("%s: %v", sql, err)
	panic("unreachable")
}

// All returns the values of a query with one column that has to work.
func All[T any](d *DB, sql string, arguments ...any) []T {
	d.tb.Helper()
	rows, err := d.Query(context.Background(), sql, arguments...)
	if err == nil {
		var values []T
		if values, err = pgx.CollectRows(rows, pgx.RowTo[T]); err == nil {
			return values
		}
	}
	d.tb.Fatalf("%s: %v", sql, err)
	panic("unreachable")
}

const publish = `
with ordered as (
  insert into public.orders (customer_name, product_name, quantity, price)
  select 'Customer ' || i, 'Product ' || i, i % 10 + 1, 10.0 + i % 50 from generate_series(1, $1::integer) as i
  returning *
)
, sent as (
  insert into pgmq.q_order_queue (enqueued_at, vt, message, headers)
  select o.created_at, o.created_at, jsonb_build_object('order_id', o.id, 'customer_name', o.customer_name,
           'product_name', o.product_name, 'quantity', o.quantity, 'price', o.price,
           'created_at', to_char(o.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')),
         '{"schema": 1, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'
    from ordered as o
   order by o.id
  returning msg_id
)
select msg_id from sent order by msg_id`

// Publish creates n orders and their messages as the api does, and returns the messages' ids. In a fresh database these are also the
// orders' ids, in the same order.
func (d *DB) Publish(n int) []int64 {
	d.tb.Helper()
	ids := All[int64](d, publish, n)
	d.Notify()
	return ids
}

// Send puts a message of any kind into the queue; body and headers are JSON or nil.
func (d *DB) Send(body, headers any) int64 {
	d.tb.Helper()
	id := One[int64](d, `select * from pgmq.send($1, $2::jsonb, $3::jsonb)`, QueueName, body, headers)
	d.Notify()
	return id
}

// Notify wakes consumers as the api does after a commit.
func (d *DB) Notify() {
	d.tb.Helper()
	d.Exec(`select pg_notify($1, '')`, "orderflow_"+QueueName)
}

// Order is what the tests look at of an order.
type Order struct {
	Status      string
	Attempts    int
	Effects     int
	LastError   *string
	ProcessedBy *string
	Completed   bool
	Dead        bool
}

// Order reads one order.
func (d *DB) Order(id int64) Order {
	d.tb.Helper()
	rows, err := d.Query(context.Background(), `
		select status, attempts, effects, last_error, processed_by, completed_at is not null, dead_at is not null
		  from public.orders where id = $1`, id)
	if err == nil {
		var o Order
		if o, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Order]); err == nil {
			return o
		}
	}
	d.tb.Fatalf("read order %d: %v", id, err)
	panic("unreachable")
}

// Audit is the orders' tally: what the whole system is for.
type Audit struct{ Orders, Completed, Dead, Pending, Duplicated, Queued, Letters int }

// Audit counts.
func (d *DB) Audit() Audit {
	d.tb.Helper()
	rows, err := d.Query(context.Background(), `
		select count(*), count(*) filter (where status = 'completed' and effects >= 1),
		       count(*) filter (where status = 'dead' and effects = 0), count(*) filter (where status = 'pending'),
		       count(*) filter (where effects > 1),
		       (select count(*) from pgmq.q_order_queue), (select count(*) from pgmq.q_order_queue_dlq)
		  from public.orders`)
	if err == nil {
		var a Audit
		if a, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Audit]); err == nil {
			return a
		}
	}
	d.tb.Fatalf("audit: %v", err)
	panic("unreachable")
}
