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

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/kit/wait"
	"orderflow.example/services/api/internal/orders"
)

const batch = 100 // orders in a large request

// writers are two writers on a database of their own, of which the first is busy with a single order.
type writers struct {
	*orders.Writers
	*bench                // for looking
	made    atomic.Int64  // connections
	tried   chan struct{} // something for each connection that was made or refused, as long as there is room
	release func()
	end     func() // ends the writers
	busy    sync.WaitGroup
}

// newWriters starts them. connections is how many connections there can be; 0: any number.
func newWriters(t *testing.T, connections int64, change func(*orders.WriterConfig)) *writers {
	t.Helper()
	url := testdb.New(t)
	w := &writers{
		bench: &bench{url: url, db: testdb.Connect(t, url), observed: &observed{}, monitor: &monitor{never: make(chan struct{})}},
		tried: make(chan struct{}, 100),
	}
	cfg := testdb.Config(t, url, time.Minute)
	prepare := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		n := w.made.Add(1)
		select {
		case w.tried <- struct{}{}:
		default:
		}
		switch {
		case connections > 0 && n > connections:
			return errors.New("no more connections")
		case prepare != nil:
			return prepare(ctx, conn)
		}
		return nil
	}
	wc := orders.WriterConfig{
		Database: cfg, Queue: "order_queue", MaxBatch: 256, MaxQueue: 4096, Timeout: time.Hour, // a part of it is how long a lock is waited for
		OnCommit: func() {}, Observer: w.observed, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&wc)
	}
	w.Writers = orders.NewWriters(wc, true, w.monitor)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	w.end = func() {
		stop()
		<-ended
	}
	t.Cleanup(w.end)
	w.release = w.hold(t)
	w.write(t, 1, "")
	await.True(t, "the first writer to be busy", func() bool { return w.waiting(t) == 1 })
	return w
}

// write writes a request that is to succeed, without waiting for it, and returns a channel with what comes of it.
func (w *writers) write(t *testing.T, n int, key string) <-chan orders.Result {
	t.Helper()
	req := orders.Request{Key: key, Batch: n > 1, Traceparent: traceparent}
	for i := range n {
		req.Orders = append(req.Orders, order(i))
	}
	results := make(chan orders.Result, 1)
	w.busy.Go(func() {
		result, err := w.Write(req)
		if err != nil {
			t.Errorf("%d orders: %v", n, err)
		}
		results <- result
	})
	return results
}

// connectSecond has the second writer connect: a large request that comes while the first writer is busy is its reason to, and waits for the
// first one.
func (w *writers) connectSecond(t *testing.T) {
	t.Helper()
	w.write(t, batch, "")
	await.True(t, "the request to wait for the first writer", func() bool { return w.Queued() == batch })
	await.True(t, "the second writer to be able to write", func() bool { return orders.SecondWrites(w.Writers) })
	if n := w.waiting(t); n != 1 {
		t.Fatalf("%d transactions are under way", n)
	}
}

func TestALargeRequestNeedNotWaitForTheFirstWriter(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 0, nil)
	w.connectSecond(t)
	w.write(t, batch, "")
	await.True(t, "the second writer to have a transaction", func() bool { return w.waiting(t) == 2 })
	w.write(t, 1, "") // small ones have the first writer, however much waits for it
	await.True(t, "the small one to wait for the first writer", func() bool { return w.Queued() == batch+1 })
	w.release()
	w.busy.Wait()
	w.check(t, 2*batch+2)
	if n := w.made.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

func TestWithoutLargeRequestsThereIsOneWriter(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 0, nil)
	for range 50 {
		w.write(t, 2, "")
	}
	await.True(t, "all to wait for the first writer", func() bool { return w.Queued() == 100 })
	w.release()
	w.busy.Wait()
	await.True(t, "the first writer to have nothing to do", func() bool { first, _ := orders.Loads(w.Writers); return first == 0 })
	w.write(t, batch, "") // nor does a large one need a second one while nobody else is there
	w.busy.Wait()
	w.check(t, 101+batch)
	w.end()
	if n := w.made.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestTheFirstWriterDoesTheWorkOfASecondOneThatCannotConnect(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 1, nil)
	w.write(t, batch, "")
	for range 4 { // the first writer's, and as many failures of the second's as have it refused
		await.Value(t, "the second writer to try", w.tried)
	}
	for range 3 {
		w.write(t, batch, "")
	}
	await.True(t, "all to wait for the first writer", func() bool { return w.Queued() == 4*batch })
	if reason := w.NotReady(); reason != "" {
		t.Errorf("not ready: %s", reason)
	}
	w.release()
	w.busy.Wait()
	w.check(t, 4*batch+1)
}

// A client asks again while its first request is under way. With a writer each, one transaction would wait for the other, and with it all orders
// that are in it.
func TestOneKeyHasOneWriter(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 0, nil)
	w.connectSecond(t)
	first := w.write(t, batch, "once")
	await.True(t, "the second writer to have it", func() bool { return w.waiting(t) == 2 })
	w.write(t, batch, "")
	await.True(t, "the second writer to have more to do than the first", func() bool { _, n := orders.Loads(w.Writers); return n == 2*batch })
	again := w.write(t, batch, "once")
	await.True(t, "it to wait for the second writer all the same", func() bool { _, n := orders.Loads(w.Writers); return n == 3*batch })
	w.release()
	w.busy.Wait()
	a, b := await.Value(t, "the first result", first), await.Value(t, "the second", again)
	if a.Replayed || !b.Replayed {
		t.Errorf("replayed: %t and %t", a.Replayed, b.Replayed)
	}
	ids := func(r orders.Result) (ids []int64) {
		for _, o := range r.Orders {
			ids = append(ids, o.ID)
		}
		return ids
	}
	if fmt.Sprint(ids(a)) != fmt.Sprint(ids(b)) || len(a.Orders) != batch {
		t.Errorf("two answers:\n%v\n%v", ids(a), ids(b))
	}
	w.check(t, 1+3*batch)
	if n := orders.Keyed(w.Writers); n != 0 {
		t.Errorf("%d keys are still kept", n)
	}
}

// What waits for the second writer when its connection is lost and cannot be made again, the first one writes.
func TestTheFirstWriterWritesWhatTheSecondOneCannot(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 2, nil)
	w.connectSecond(t)
	lost := make(chan error, 1)
	w.busy.Go(func() {
		_, err := w.Write(orders.Request{Orders: make([]orders.Draft, batch), Batch: true})
		lost <- err
	})
	await.True(t, "the second writer to have a transaction", func() bool { return w.waiting(t) == 2 })
	w.write(t, batch, "")
	await.True(t, "another to wait for it", func() bool { _, n := orders.Loads(w.Writers); return n == 2*batch })
	if _, err := w.db.Exec(t.Context(), `
		select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and wait_event_type = 'Lock' order by backend_start desc limit 1`); err != nil {
		t.Fatal(err)
	}
	if err := await.Value(t, "what was under way", lost); !errors.Is(err, orders.ErrUnknownOutcome) {
		t.Errorf("what was under way: %v", err)
	}
	await.True(t, "the other to wait for the first writer", func() bool { first, _ := orders.Loads(w.Writers); return first == 1+2*batch })
	w.release()
	w.busy.Wait()
	w.check(t, 1+2*batch)
}

// Clients repeat what was not answered, with its key, while both writers lose their connections again and again.
func TestLargeRequestsWithKeysAreWrittenOnceWhateverBecomesOfTheConnections(t *testing.T) {
	t.Parallel()
	const clients, requests = 6, 8
	w := newWriters(t, 0, nil)
	w.connectSecond(t)
	w.release()
	w.busy.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit())
	defer cancel()
	answered := make(chan struct{}, clients*requests)
	for client := range clients {
		w.busy.Go(func() {
			for n := range requests {
				req := orders.Request{Key: fmt.Sprintf("%d-%d", client, n), Batch: true, Traceparent: traceparent}
				for i := range batch {
					req.Orders = append(req.Orders, order(i))
				}
				pauses := wait.Pauses{First: time.Millisecond, Longest: 100 * time.Millisecond}
				_, err := w.Write(req)
				for err != nil && ctx.Err() == nil {
					wait.For(ctx, pauses.Next())
					_, err = w.Write(req)
				}
				if err != nil {
					t.Errorf("%s: %v", req.Key, err)
				}
				answered <- struct{}{}
			}
		})
	}
	ended := 0
	for range clients * requests / 2 {
		for range 2 {
			await.Value(t, "an answer", answered)
		}
		var n int
		if err := w.db.QueryRow(t.Context(), `
			select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
			where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		ended += n
	}
	w.busy.Wait()
	w.check(t, 1+batch+clients*requests*batch)
	if n := w.count(t, `select count(distinct idempotency_key) from orders`); n != clients*requests*batch {
		t.Errorf("%d keys", n)
	}
	t.Logf("%d connections were ended, %d made", ended, w.made.Load())
}

func TestBothWritersTogetherLetSoManyOrdersWait(t *testing.T) {
	t.Parallel()
	w := newWriters(t, 0, func(c *orders.WriterConfig) { c.MaxQueue = 2*batch + batch/2 })
	w.connectSecond(t)
	tooMany := func(whose string) {
		t.Helper()
		refused := make(chan error, 1)
		w.busy.Go(func() {
			_, err := w.Write(orders.Request{Orders: make([]orders.Draft, 2*batch), Batch: true})
			refused <- err
		})
		if err := await.Value(t, "it to be refused", refused); !errors.Is(err, orders.ErrOverloaded) {
			t.Errorf("%s: got %v", whose, err)
		}
	}
	tooMany("the second writer's, for whom nothing waits")
	w.write(t, batch, "")
	await.True(t, "the second writer to have a transaction", func() bool { return w.waiting(t) == 2 })
	w.write(t, batch, "")
	await.True(t, "another to wait for it", func() bool { _, n := orders.Loads(w.Writers); return n == 2*batch })
	tooMany("the first writer's")
	w.release()
	w.busy.Wait()
	w.check(t, 1+3*batch)
}
