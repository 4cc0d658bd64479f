package orders_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
	"orderflow.example/kit/wait"
	"orderflow.example/services/api/internal/orders"
)

func TestRequestsThatGatherShareATransaction(t *testing.T) {
	t.Parallel()
	const n = 200
	b := newWriter(t, nil)
	release := b.hold(t)
	var wg sync.WaitGroup
	write := func(i int) {
		result, err := b.Write(one(order(i), ""))
		if err != nil || len(result.Orders) != 1 || result.Orders[0].Draft != order(i) || result.Replayed {
			t.Errorf("order %d: %+v, %v", i, result, err)
		}
	}
	wg.Go(func() { write(0) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for i := 1; i <= n; i++ {
		wg.Go(func() { write(i) })
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == n })
	release()
	wg.Wait()
	b.check(t, n+1)
	if commits, largest := b.observed.commits.Load(), b.observed.largest.Load(); commits != 2 || largest != n {
		t.Errorf("%d transactions, the largest of %d requests", commits, largest)
	}
	if b.kicks.Load() != 2 {
		t.Errorf("%d notifications were asked for, want one after each commit", b.kicks.Load())
	}
}

// The database refuses some orders by a rule that the program does not know. All of them are in one batch.
func TestOnesFaultDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	const n = 100
	b := newWriter(t, nil)
	if _, err := b.db.Exec(t.Context(), `alter table orders add constraint no_sevens check (customer_name not like '%7')`); err != nil {
		t.Fatal(err)
	}
	release := b.hold(t)
	var wg sync.WaitGroup
	var refused atomic.Int64
	write := func(i int) {
		// Some without a key, some with one of their own, some sharing one.
		key := ""
		switch i % 3 {
		case 1:
			key = fmt.Sprintf("own-%d", i)
		case 2:
			key = fmt.Sprintf("shared-%d", i/30)
		}
		_, err := b.Write(one(order(i), key))
		var fault *orders.RefusedError
		switch {
		case errors.As(err, &fault):
			refused.Add(1)
			if i%10 != 7 {
				t.Errorf("order %d was refused: %v", i, err)
			}
		case errors.Is(err, orders.ErrKeyReused):
			if i%3 != 2 {
				t.Errorf("order %d: %v", i, err)
			}
		case err != nil:
			t.Errorf("order %d: %v", i, err)
		case i%10 == 7:
			t.Errorf("order %d was not refused", i)
		}
	}
	wg.Go(func() { write(0) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for i := 1; i <= n; i++ {
		wg.Go(func() { write(i) })
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == n })
	release()
	wg.Wait()
	b.check(t, b.count(t, `select count(distinct customer_name) from orders`))
	if _, err := b.db.Exec(t.Context(), `create unique index on orders (product_name)`); err != nil {
		t.Fatal(err)
	}
	var fault *orders.RefusedError
	if _, err := b.Write(one(order(0), "a rule that was added")); !errors.As(err, &fault) {
		t.Errorf("an order that is refused by a unique index of somebody's: %v", err)
	}
	if b.count(t, `select count(*) from orders where idempotency_key is null or idempotency_key like 'own%'`) < 60 {
		t.Error("neighbours were not written")
	}
	if refused.Load() < 7 {
		t.Errorf("%d were refused", refused.Load())
	}
}

func TestKeyIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	first := b.mustWrite(t, one(order(1), "k"))
	again := b.mustWrite(t, one(order(1), "k"))
	if first.Replayed || !again.Replayed || first.Orders[0].ID != again.Orders[0].ID || !first.Orders[0].CreatedAt.Equal(again.Orders[0].CreatedAt) {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	if _, err := b.Write(one(order(2), "k")); !errors.Is(err, orders.ErrKeyReused) {
		t.Errorf("other values under the same key: %v", err)
	}
	// A replay is the first answer, whatever has become of the order since.
	if _, err := b.db.Exec(t.Context(), `update orders set status = 'completed', attempts = 1, effects = 1, completed_at = now()`); err != nil {
		t.Fatal(err)
	}
	if late := b.mustWrite(t, one(order(1), "k")); late.Orders[0].Status != orders.StatusPending || late.Orders[0].Attempts != 0 {
		t.Errorf("a late replay is %+v", late.Orders[0])
	}
	b.check(t, 1)
}

func TestSameKeyManyTimesInOneBatch(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	release := b.hold(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Write(one(order(99), "")) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	var fresh, replayed, reused atomic.Int64
	var ids sync.Map
	for i := range 40 {
		wg.Go(func() {
			result, err := b.Write(one(order(i%2), "k"))
			switch {
			case errors.Is(err, orders.ErrKeyReused):
				reused.Add(1)
				return
			case err != nil:
				t.Error(err)
				return
			case result.Replayed:
				replayed.Add(1)
			default:
				fresh.Add(1)
			}
			ids.Store(result.Orders[0].ID, true)
		})
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == 40 })
	release()
	wg.Wait()
	if fresh.Load() != 1 || replayed.Load() != 19 || reused.Load() != 20 {
		t.Errorf("%d written, %d replayed, %d refused", fresh.Load(), replayed.Load(), reused.Load())
	}
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d different orders were answered", n)
	}
	b.check(t, 2)
}

func TestBatchIsWrittenAllOrNothing(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	batch := func(key string, is ...int) orders.Request {
		r := orders.Request{Key: key, Batch: true, Traceparent: traceparent}
		for _, i := range is {
			r.Orders = append(r.Orders, order(i))
		}
		return r
	}
	first := b.mustWrite(t, batch("k", 1, 2, 3))
	if len(first.Orders) != 3 || first.Orders[2].Draft != order(3) || *first.Orders[2].IdempotencyKey != "k\x1f2" {
		t.Fatalf("got %+v", first)
	}
	again := b.mustWrite(t, batch("k", 1, 2, 3))
	if !again.Replayed || again.Orders[0].ID != first.Orders[0].ID || again.Orders[2].ID != first.Orders[2].ID {
		t.Errorf("the replay is %+v", again)
	}
	for name, other := range map[string]orders.Request{
		"shorter": batch("k", 1, 2), "longer": batch("k", 1, 2, 3, 4), "other values": batch("k", 1, 2, 4), "other order": batch("k", 2, 1, 3),
	} {
		if _, err := b.Write(other); !errors.Is(err, orders.ErrKeyReused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.check(t, 3)

	// The key of a batch and that of a single order are different things.
	b.mustWrite(t, one(order(9), "k"))
	b.check(t, 4)

	if _, err := b.db.Exec(t.Context(), `alter table orders add constraint no_sevens check (customer_name not like '%7')`); err != nil {
		t.Fatal(err)
	}
	var fault *orders.RefusedError
	if _, err := b.Write(batch("", 5, 6, 7, 8)); !errors.As(err, &fault) {
		t.Errorf("a batch with a refused order: %v", err)
	}
	b.check(t, 4)

	// More than fits a transaction goes on its own.
	many := make([]int, 1000)
	for i := range many {
		many[i] = 10 * i
	}
	if large := b.mustWrite(t, batch("large", many...)); len(large.Orders) != 1000 || large.Orders[999].Draft != order(9990) {
		t.Error("the large batch was not answered as it was sent")
	}
	b.check(t, 1004)
}

// What is told that nothing was written is not written later either, whatever it waited for when its time was up.
func TestNobodyWaitsLongerThanItsTimeAndNothingIsWrittenAfterwards(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hold     func(*testing.T, *bench, *pgproxy.Proxy) (release func())
		definite bool // everybody is told that nothing was written
	}{
		"while a statement waits for a lock": {hold: func(t *testing.T, b *bench, _ *pgproxy.Proxy) func() { return b.hold(t) }},
		"while the writer connects": {definite: true, hold: func(t *testing.T, b *bench, proxy *pgproxy.Proxy) func() {
			// The reply to this one is lost, and then nothing answers any more.
			lost := proxy.Trap(publishes, pgproxy.Unanswered, proxy.Freeze)
			await.True(t, "a reply to be lost", func() bool {
				_, _ = b.Write(one(order(1), "")) // which may be over before it is sent
				select {
				case <-lost:
					return true
				default:
					return false
				}
			})
			return proxy.Thaw
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testdb.New(t)
			proxy := testdb.Proxy(t, url)
			b := newWriterOn(t, proxy.URL, url, func(c *orders.WriterConfig) {
				c.Timeout, c.MaxBatch, c.Database.ConnectTimeout = time.Second, 10, time.Hour
			})
			// On a busy machine an order may take longer than the second that it has here.
			writes := func(i int) bool {
				_, err := b.Write(one(order(i), ""))
				return err == nil
			}
			await.True(t, "the writer to be connected", func() bool { return writes(0) })
			release := test.hold(t, b, proxy)
			var (
				wg       sync.WaitGroup
				mu       sync.Mutex
				definite []string // customers who were told that nothing was written
			)
			for i := 100; i < 150; i++ {
				wg.Go(func() {
					_, err := b.Write(one(order(i), ""))
					switch {
					case errors.Is(err, orders.ErrTimeout), errors.Is(err, orders.ErrUnavailable):
						mu.Lock()
						defer mu.Unlock()
						definite = append(definite, order(i).CustomerName)
					case test.definite || !errors.Is(err, orders.ErrUnknownOutcome):
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			release()
			await.True(t, "orders to be written again, and so all that came before to be decided", func() bool { return writes(2) })
			var written int
			if err := b.db.QueryRow(t.Context(), `select count(*) from orders where customer_name = any ($1)`, definite).Scan(&written); err != nil || written != 0 {
				t.Errorf("%d of %d were written all the same (%v)", written, len(definite), err)
			}
			b.check(t, b.count(t, `select count(*) from orders`))
		})
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.MaxQueue = 5 })
	release := b.hold(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Write(one(order(0), "")) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for i := range 5 {
		wg.Go(func() { _, _ = b.Write(one(order(i), "")) })
	}
	await.True(t, "the queue to fill", func() bool { return b.Queued() == 5 })
	if _, err := b.Write(one(order(7), "")); !errors.Is(err, orders.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	release()
	wg.Wait()
	b.check(t, 6)
}

func TestKnownOutageRefusesAtOnce(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = time.Hour }) // for those who are not refused at once
	b.monitor.down.Store(true)
	if _, err := b.Write(one(order(7), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// The reply to the commit is lost: the transaction has happened and nobody was told.
func TestLostReply(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pgproxy.Fault{
		"all of it": pgproxy.Unanswered, "but for its last end": pgproxy.Unfinished, "and the server panics": pgproxy.Panicked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testdb.New(t)
			proxy := testdb.Proxy(t, url)
			b := newWriterOn(t, proxy.URL, url, nil)
			b.mustWrite(t, one(order(0), ""))

			proxy.Trap(publishes, fault)
			result := b.mustWrite(t, one(order(1), "k"))
			if !result.Replayed {
				t.Error("the order with a key was not found by the second try")
			}
			b.check(t, 2)

			b.mustWrite(t, one(order(3), "")) // a new connection tries the statement without orders
			proxy.Trap(publishes, fault)
			if _, err := b.Write(one(order(2), "")); !errors.Is(err, orders.ErrUnknownOutcome) {
				t.Errorf("the order without a key: %v", err)
			}
			b.check(t, 4)
			if b.monitor.looks.Load() == 0 {
				t.Error("the monitor was not told")
			}
		})
	}
}

// Connections are terminated all the time: after each transaction that was heard of. Orders with a key are written once each, whoever asks how
// often.
func TestTerminatedConnections(t *testing.T) {
	t.Parallel()
	const n = 200
	b := newWriter(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	var killer sync.WaitGroup
	killer.Go(func() {
		conn := testdb.Connect(t, b.url)
		for before := int64(0); wait.For(ctx, 20*time.Millisecond); {
			now := b.observed.commits.Load()
			if now > before {
				_, _ = conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like '%send_batch%' and pid <> pg_backend_pid()`)
			}
			before = now
		}
	})
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := c; i < n; i += 8 {
				for {
					_, err := b.Write(one(order(i), fmt.Sprintf("key-%d", i)))
					if err == nil {
						break
					}
					if !errors.Is(err, orders.ErrUnknownOutcome) && !errors.Is(err, orders.ErrUnavailable) {
						t.Errorf("order %d: %v", i, err)
						break
					}
					wait.For(ctx, 5*time.Millisecond) // orders may be refused at once, for as long as it takes to connect
				}
			}
		})
	}
	wg.Wait()
	stop()
	killer.Wait()
	b.check(t, n)
}

// A connection that was ended while nobody used it must not put the next order in doubt.
func TestConnectionLostWhileIdle(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.mustWrite(t, one(order(0), ""))
	if _, err := b.db.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	idle := time.NewTimer(600 * time.Millisecond)
	<-idle.C
	b.mustWrite(t, one(order(1), ""))
	b.check(t, 2)
}

// A connection that works leads to a server that has been replaced, whose successor has its address: what is written there would be lost.
func TestNothingIsWrittenToAServerThatWasReplaced(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.mustWrite(t, one(order(1), ""))
	const others = ` from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`
	before := b.count(t, `select pid`+others)
	b.mustWrite(t, one(order(2), ""))
	if b.count(t, fmt.Sprint(`select count(*)`, others, ` and pid <> `, before)) != 0 {
		t.Fatal("a connection that leads where it should is given up")
	}
	b.monitor.server.Store(&postgres.Server{Address: b.db.PgConn().Conn().RemoteAddr().String(), System: "another", Timeline: 1})
	b.mustWrite(t, one(order(3), ""))
	if b.count(t, fmt.Sprint(`select count(*)`, others, ` and pid <> `, before)) != 1 {
		t.Error("the order was written over the connection to the former server")
	}
	b.check(t, 3)
}

func TestWriterEndsWithWhatIsWaiting(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	cfg := testdb.Config(t, url, time.Minute)
	w := orders.NewWriter(orders.WriterConfig{
		Database: cfg, Queue: "order_queue", MaxBatch: 4, MaxQueue: 100, Timeout: time.Minute,
		OnCommit: func() {}, Observer: &observed{}, Log: slog.New(slog.DiscardHandler),
	}, &monitor{never: make(chan struct{})})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := w.Write(one(order(i), "")); err != nil {
				t.Error(err)
			}
		})
	}
	await.True(t, "all to wait", func() bool { return w.Queued() == 20 })
	ctx, stop := context.WithCancel(context.Background())
	stop()
	w.Run(ctx)
	wg.Wait()
	if _, err := w.Write(one(order(1), "")); !errors.Is(err, orders.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
