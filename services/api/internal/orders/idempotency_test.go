package orders_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// Two replicas write the same few keys at the same time, with the same or other values, alone and in batches. Whatever the
// interleaving: each key stands for one thing, everybody who sent that thing got it, and everybody else was refused.
func TestKeysMeanOneThingAcrossReplicas(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	replicas := []*bench{newWriterOn(t, url, url, nil), newWriterOn(t, url, url, nil)}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		type send struct {
			replica  int
			request  orders.Request
			variant  int
			result   orders.Result
			err      error
			settings string
		}
		sends := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *send {
			s := &send{replica: rapid.IntRange(0, 1).Draw(rt, "replica"), variant: rapid.IntRange(0, 1).Draw(rt, "variant")}
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			s.request = orders.Request{Key: fmt.Sprintf("%d-%s", round, key), Traceparent: traceparent, Batch: rapid.Bool().Draw(rt, "batch")}
			size := 1
			if s.request.Batch {
				size = rapid.IntRange(1, 3).Draw(rt, "size")
			}
			for i := range size {
				s.request.Orders = append(s.request.Orders, order(10*s.variant+i))
			}
			s.settings = fmt.Sprint(key, s.request.Batch)
			return s
		}), 2, 12).Draw(rt, "sends")

		var wg sync.WaitGroup
		for _, s := range sends {
			wg.Go(func() { s.result, s.err = replicas[s.replica].Write(s.request) })
		}
		wg.Wait()

		winners := map[string]*send{}
		fresh := map[string]int{}
		for _, s := range sends {
			switch {
			case errors.Is(s.err, orders.ErrKeyReused):
				continue
			case s.err != nil:
				rt.Fatalf("%+v: %v", s.request, s.err)
			case !s.result.Replayed:
				fresh[s.settings]++
			}
			winner := winners[s.settings]
			if winner == nil {
				winners[s.settings] = s
				continue
			}
			if len(winner.result.Orders) != len(s.result.Orders) || winner.result.Orders[0].ID != s.result.Orders[0].ID {
				rt.Fatalf("one key, two answers:\n%+v\n%+v", winner.result, s.result)
			}
		}
		for _, s := range sends {
			winner := winners[s.settings]
			if winner == nil || fresh[s.settings] != 1 {
				rt.Fatalf("key %s was written %d times", s.settings, fresh[s.settings])
			}
			same := winner.variant == s.variant && len(winner.request.Orders) == len(s.request.Orders)
			if same != (s.err == nil) {
				rt.Fatalf("%+v: %v, but the key stands for %+v", s.request, s.err, winner.request)
			}
		}
	})
	rows := replicas[0].count(t, `select count(*) from orders`)
	replicas[0].check(t, rows)
}

// Two replicas write the same keys, which came to them in another order, and neither waits for the other while the other waits for it: the
// server would notice that after a second, and all that gathered there would be late.
func TestReplicasDoNotWaitInACircle(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	db := testdb.Connect(t, url)
	for _, sql := range []string{
		`do $$ begin execute format('alter database %I set deadlock_timeout = ''1h''', current_database()); end $$`,
		`create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(0.2); return new; end'`,
		`create trigger slowly before insert on orders for each row when (new.idempotency_key is not null) execute function slowly()`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	quick := func(cfg *orders.WriterConfig) { cfg.Timeout = await.Limit() / 6 }
	replicas := []*bench{newWriterOn(t, url, url, quick), newWriterOn(t, url, url, quick)}
	release := replicas[0].hold(t)
	var wg sync.WaitGroup
	write := func(b *bench, key string) {
		wg.Go(func() {
			if _, err := b.Write(one(order(1), key)); err != nil {
				t.Errorf("key %q: %v", key, err)
			}
		})
	}
	for i, b := range replicas {
		write(b, "")
		await.True(t, "a transaction that others wait for", func() bool { return b.waiting(t) == i+1 })
	}
	for i, b := range replicas {
		for n, key := range [][]string{{"one", "other"}, {"other", "one"}}[i] {
			write(b, key)
			await.True(t, "a request to gather", func() bool { return b.Queued() == n+1 })
		}
	}
	release()
	wg.Wait()
	replicas[0].check(t, 4)
}

// What is found under a key is read on the goroutine that writes for all. A hand may have dropped the constraints of the table, which is also
// somebody else's, and put anything into the row.
func TestWhatIsFoundUnderAKeyMayBeAnything(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	if _, err := b.db.Exec(t.Context(), `
		alter table orders alter customer_name drop not null, alter product_name drop not null, alter quantity drop not null, alter price drop not null,
			alter created_at drop not null, alter status drop not null, alter attempts drop not null, alter effects drop not null`); err != nil {
		t.Fatal(err)
	}
	pool, err := database.NewPool(t.Context(), testdb.Config(t, b.url, time.Minute), 1, database.Timeouts(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for n, column := range []string{"customer_name", "product_name", "quantity", "price", "created_at", "message_id", "status", "attempts", "effects"} {
		b.mustWrite(t, one(order(1), column))
		if _, err := b.db.Exec(t.Context(), `update orders set `+column+` = null where idempotency_key = $1`, column); err != nil {
			t.Fatal(err)
		}
		result, err := b.Write(one(order(1), column))
		if itself := n > 3; itself && (err != nil || !result.Replayed) || !itself && !errors.Is(err, orders.ErrKeyReused) {
			t.Errorf("without %s: %+v, %v", column, result, err)
		}
		page, err := orders.NewStore(pool).List(t.Context(), orders.Filter{}, 1, "")
		if err != nil || len(page.Orders) != 1 {
			t.Errorf("a list with an order without %s: %+v, %v", column, page, err)
			continue
		}
		if o, err := orders.NewStore(pool).Get(t.Context(), page.Orders[0].ID); err != nil || o.IdempotencyKey == nil || *o.IdempotencyKey != column {
			t.Errorf("an order without %s: %+v, %v", column, o, err)
		}
		if story, err := history.NewReader(pool, queue.New(pool, "order_queue")).Get(t.Context(), page.Orders[0].ID); err != nil || len(story.Events) == 0 {
			t.Errorf("the story of an order without %s: %+v, %v", column, story, err)
		}
	}
	if n := b.count(t, `select count(*) from orders`); n != 9 {
		t.Errorf("%d orders, want 9", n)
	}
}
