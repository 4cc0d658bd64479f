package dashboard

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// years fills the tables with so many orders: those of one customer completed, those of another dead, with keys, and a few pending; a tenth
// with a history; and as many dead letters and messages as there are orders. There are more of each than a search looks at in one statement.
const years = `
	insert into public.orders (customer_name, product_name, quantity, price, status, completed_at, dead_at, idempotency_key, message_id)
	select case g %% 2 when 0 then 'even' else 'odd' end, 'Product', 1, 1,
		case when g %% 10000 = 5 then 'pending' when g %% 2 = 0 then 'completed' else 'dead' end,
		case when g %% 2 = 0 then now() end, case when g %% 10000 <> 5 and g %% 2 <> 0 then now() end,
		case when g %% 2 <> 0 then 'run-' || lpad(g::text, 10, '0') end, g
	from generate_series(%[1]d, %[2]d) g;
	insert into orderflow.history (order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, ended_at, settled_at)
	select o.id, o.created_at, 1, 1, 1, o.id, 1, now(), 'retried', now(), now() from public.orders o where o.id between %[1]d and %[2]d and o.id %% 10 = 0;
	insert into pgmq.q_order_queue (vt, message) select now(), jsonb_build_object('order_id', g) from generate_series(%[1]d, %[2]d) g;
	insert into pgmq.q_order_queue_dlq (vt, message, headers)
	select now(), jsonb_build_object('order_id', g), jsonb_build_object('orderflow-dead', jsonb_build_object('reason', case when g = 1 then 'rare' else 'max_attempts' end))
	from generate_series(%[1]d, %[2]d) g;
	insert into orderflow.open_blocks (block) select distinct o.id / 256 from public.orders o where o.status <> 'completed' on conflict do nothing;
	update orderflow.order_scan set position = (select max(id) from public.orders), filenode = pg_relation_filenode('public.orders');`

// Whatever is listed, searched for or looked up costs the same however many orders, messages, dead letters and stories there are: no statement
// looks at more pages, or reads a table from end to end, when they are five times as many.
//
// It is about the largest of a call's statements. How many windows a search looks into before it ends the page is decided by the time.
// Counting the queue (GET /queue) is not among these: it is done once a second at most, and more rarely when it takes long.
func TestNoListingGrowsWithTheTables(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	cfg := testdb.Config(t, url, time.Minute)
	plans := testdb.Explain(t, cfg)
	pool, err := database.NewPool(t.Context(), cfg, 2, database.Timeouts(time.Minute).With(database.Session{"plan_cache_mode": "force_custom_plan"}))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	messages := queue.New(pool, "order_queue")
	found, stories := orders.NewStore(pool), history.NewReader(pool, messages)
	counter := &sampler{store: &store{db: pool, queue: messages}}
	look := lookSQL(database.AsItIs)
	list := func(f orders.Filter) func(context.Context) error {
		return func(ctx context.Context) error {
			page, err := found.List(ctx, f, 50, "")
			if err == nil && page.Next != "" {
				_, err = found.List(ctx, f, 50, page.Next)
			}
			return err
		}
	}
	letters := func(f queue.LetterFilter) func(context.Context) error {
		return func(ctx context.Context) error {
			page, err := messages.DeadLetters(ctx, f, 50, "")
			if err == nil && page.Next != "" {
				_, err = messages.DeadLetters(ctx, f, 50, page.Next)
			}
			return err
		}
	}
	calls := map[string]func(context.Context) error{
		"GET /orders":                              list(orders.Filter{}),
		"GET /orders?status=completed":             list(orders.Filter{Status: orders.StatusCompleted}),
		"GET /orders?status=pending":               list(orders.Filter{Status: orders.StatusPending}),
		"GET /orders?status=dead":                  list(orders.Filter{Status: orders.StatusDead}),
		"GET /orders?customer_name=":               list(orders.Filter{CustomerName: "odd"}),
		"GET /orders?customer_name=, nobody":       list(orders.Filter{CustomerName: "nobody"}),
		"GET /orders?customer_name=&status=":       list(orders.Filter{CustomerName: "even", Status: orders.StatusPending}),
		"GET /orders?customer_name=&status=dead":   list(orders.Filter{CustomerName: "even", Status: orders.StatusDead}),
		"GET /orders?idempotency_key_prefix=":      list(orders.Filter{KeyPrefix: "run-"}),
		"GET /orders?key_prefix=&status=":          list(orders.Filter{KeyPrefix: "run-", Status: orders.StatusPending}),
		"GET /orders?key_prefix=&status=dead":      list(orders.Filter{KeyPrefix: "run-", Status: orders.StatusDead}),
		"GET /orders?key_prefix=&customer_name=":   list(orders.Filter{KeyPrefix: "run-", CustomerName: "even"}),
		"GET /orders?all three":                    list(orders.Filter{KeyPrefix: "run-", CustomerName: "even", Status: orders.StatusDead}),
		"GET /orders/{id}":                         func(ctx context.Context) error { _, err := found.Get(ctx, 11); return err },
		"GET /orders/{id}/history":                 func(ctx context.Context) error { _, err := stories.Get(ctx, 10); return err },
		"GET /orders/{id}/history, pending":        func(ctx context.Context) error { _, err := stories.Get(ctx, 5); return err },
		"GET /messages":                            func(ctx context.Context) error { _, err := messages.Peek(ctx, 50); return err },
		"GET /dead-letters":                        letters(queue.LetterFilter{}),
		"GET /dead-letters?reason=":                letters(queue.LetterFilter{Reason: "max_attempts"}),
		"GET /dead-letters?reason=, rare":          letters(queue.LetterFilter{Reason: "rare"}),
		"dashboard: dead letters with a text":      letters(queue.LetterFilter{Text: "no such text"}),
		"dashboard: the dead letter of an order":   letters(queue.LetterFilter{Order: 7}),
		"dashboard: what dead letters died of":     func(ctx context.Context) error { _, err := messages.Reasons(ctx); return err },
		"dashboard: balance, one range":            func(ctx context.Context) error { return counter.count(ctx, 0) },
		"dashboard: balance, what is new":          func(ctx context.Context) error { _, _, err := counter.unseen(ctx); return err },
		"dashboard: all that moves, latest orders": func(ctx context.Context) error { _, err := pool.Exec(ctx, look, "order_queue", 0); return err },
	}
	const few, many = 12_000, 48_000 // a search looks at windows of 5,000, and the balance at ranges of 10,000
	pages := func(first, last int) map[string]testdb.Plan {
		t.Helper()
		conn := testdb.Connect(t, url)
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(years, first, last)); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"public.orders", "orderflow.history", "orderflow.open_blocks", "pgmq.q_order_queue", "pgmq.q_order_queue_dlq"} {
			if _, err := conn.Exec(t.Context(), "vacuum (analyze) "+table); err != nil {
				t.Fatal(err)
			}
		}
		largest := map[string]testdb.Plan{}
		for name, call := range calls {
			if err := call(t.Context()); err != nil { // the first time, catalogs are read, too
				t.Fatalf("%s: %v", name, err)
			}
			plans.Take()
			if err := call(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			taken := plans.Take()
			if len(taken) == 0 {
				t.Fatalf("%s: no plan was told", name)
			}
			for _, plan := range taken {
				if plan.Pages >= largest[name].Pages {
					largest[name] = plan
				}
			}
		}
		return largest
	}
	before, after := pages(1, few), pages(few+1, many)
	for name := range calls {
		was, is := before[name], after[name]
		if scanned := is.Scanned(few); is.Pages > was.Pages*5/4+20 || len(scanned) > 0 {
			t.Errorf("%s: %d pages with %d orders, %d with %d; read from end to end: %v\n%s", name, was.Pages, few, is.Pages, many, scanned, is.Text)
		}
	}
}
