package orders_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
)

func TestMain(m *testing.M) { os.Exit(await.Ended(m, func() error { return goleak.Find() })) }

// publishes is how the statement begins that writes orders. The writer pings a connection that it has not used for a moment.
const publishes = "-- Writes a batch of orders"

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// observed counts what the writer reports.
type observed struct{ commits, failures, largest atomic.Int64 }

func (o *observed) Committed(requests, _ int, _ time.Duration, _ string) {
	o.commits.Add(1)
	for {
		before := o.largest.Load()
		if int64(requests) <= before || o.largest.CompareAndSwap(before, int64(requests)) {
			return
		}
	}
}
func (o *observed) Failed(database.Kind) { o.failures.Add(1) }
func (o *observed) Replayed()            {}

// monitor is the database's monitor, by hand.
type monitor struct {
	down       atomic.Bool
	looks      atomic.Int64
	distrusted atomic.Int64
	server     atomic.Pointer[postgres.Server] // where connections lead; nil: nobody knows
	never      chan struct{}
}

func (m *monitor) Up() bool { return !m.down.Load() }
func (m *monitor) LookNow() { m.looks.Add(1) }

func (m *monitor) Distrust(*pgx.Conn) { m.distrusted.Add(1) }

func (m *monitor) State() (database.State, <-chan struct{}) {
	state := database.State{Up: m.Up()}
	if !state.Up {
		state.Reason = "it is away by hand"
	}
	if server := m.server.Load(); server != nil {
		state.Server = *server
	}
	return state, m.never
}

// bench is a writer on a database of its own.
type bench struct {
	*orders.Writer
	url      string
	db       *pgx.Conn // for looking
	observed *observed
	monitor  *monitor
	kicks    atomic.Int64
}

func newWriter(tb testing.TB, change func(*orders.WriterConfig)) *bench {
	tb.Helper()
	url := testdb.New(tb)
	return newWriterOn(tb, url, url, change)
}

// newWriterOn makes a writer that writes by one URL; the test looks by the other.
func newWriterOn(tb testing.TB, writes, looks string, change func(*orders.WriterConfig)) *bench {
	tb.Helper()
	cfg := testdb.Config(tb, writes, time.Minute)
	b := &bench{url: looks, db: testdb.Connect(tb, looks), observed: &observed{}, monitor: &monitor{never: make(chan struct{})}}
	wc := orders.WriterConfig{
		Database: cfg, Queue: "order_queue", MaxBatch: 256, MaxQueue: 4096, Timeout: time.Minute,
		OnCommit: func() { b.kicks.Add(1) }, Observer: b.observed, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&wc)
	}
	b.Writer = orders.NewWriter(wc, b.monitor)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	tb.Cleanup(func() {
		stop()
		<-done
	})
	return b
}

func order(i int) orders.Draft {
	return orders.Draft{
		CustomerName: fmt.Sprintf("Customer %d", i), ProductName: fmt.Sprintf("Product %d", i), Quantity: int32(i%10 + 1), Price: orders.Cents(1000 + i%50*100),
	}
}

func one(o orders.Draft, key string) orders.Request {
	return orders.Request{Orders: []orders.Draft{o}, Key: key, Traceparent: traceparent}
}

func (b *bench) mustWrite(t *testing.T, r orders.Request) orders.Result {
	t.Helper()
	result, err := b.Write(r)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return result
}

func (b *bench) count(t *testing.T, sql string) (n int) {
	t.Helper()
	if err := b.db.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// check verifies what must hold whatever happened: each order has exactly one message, which is about it and bears its
// values, and there is no message without an order.
func (b *bench) check(t *testing.T, rows int) {
	t.Helper()
	if n := b.count(t, `select count(*) from orders`); n != rows {
		t.Errorf("%d orders, want %d", n, rows)
	}
	if n := b.count(t, `
		select count(*)
		from orders o
		full join pgmq.q_order_queue q on q.msg_id = o.message_id
		where q.message is distinct from jsonb_build_object(
			'order_id', o.id, 'customer_name', o.customer_name, 'product_name', o.product_name, 'quantity', o.quantity, 'price', o.price,
			'created_at', to_char(o.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))`); n != 0 {
		t.Errorf("%d orders or messages have no or another counterpart", n)
	}
}

// hold takes a lock that a transaction with orders waits for, to draw their ids (and preparing it does not), so that requests gather; the
// function it returns lets go.
func (b *bench) hold(t *testing.T) (release func()) {
	t.Helper()
	conn := testdb.Connect(t, b.url)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `alter sequence public.orders_id_seq cache 1`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting is the number of sessions that wait for a lock in the test's database.
func (b *bench) waiting(t *testing.T) int {
	t.Helper()
	return b.count(t, `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
}

// connect is the bench with another connection for looking.
func (b *bench) connect(t *testing.T) *bench {
	t.Helper()
	return &bench{Writer: b.Writer, url: b.url, db: testdb.Connect(t, b.url)}
}

// forRole puts a role's name into a statement.
func forRole(sql, role string) string { return strings.ReplaceAll(sql, "%role%", role) }
