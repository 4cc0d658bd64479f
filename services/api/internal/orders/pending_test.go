package orders_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/orders"
)

// The pending orders are all listed, in their order and each once, however far the search for open ones has come, and wherever pages end.
func TestPendingOrdersAreFoundAmongCompletedOnes(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	pool, err := pgxpool.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	// A search that looks at 5,000 at a time ends a step between two that are pending.
	exec(`insert into public.orders (customer_name, product_name, quantity, price, status, effects, completed_at, dead_at, idempotency_key)
		select case n % 3 when 0 then 'c' else 'a' end, 'b', 1, 1, s, (s = 'completed')::integer, case when s = 'completed' then now() end, case when s = 'dead' then now() end, n::text
		  from generate_series(1, 20000) n, lateral (select case when n % 997 < 3 or n % 5000 < 2 or n > 19990 or n between 5110 and 5130 then 'pending' when n % 501 = 0 then 'dead' else 'completed' end as s) as s`)
	check := func(when string, filter orders.Filter, limits ...int) {
		t.Helper()
		rows, err := pool.Query(t.Context(), `
			select id from public.orders where status = 'pending' and $1 in ('', customer_name) and ($2 = '' or starts_with(idempotency_key, $2))
			order by case when $2 <> '' then idempotency_key end, id desc`, filter.CustomerName, filter.KeyPrefix)
		if err != nil {
			t.Fatal(err)
		}
		want, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range limits {
			if got := listed(t, orders.NewStore(pool), filter, limit); !slices.Equal(got, want) {
				t.Errorf("%s, %+v, %d in a page: %d orders %v, want %d %v", when, filter, limit, len(got), got, len(want), want)
			}
		}
	}
	pending := orders.Filter{Status: orders.StatusPending}
	check("before the search", pending, 1, 7, 1000)
	for range 3 {
		exec(`select orderflow.look_for_stranded('order_queue', 5000)`)
		check("during the search", pending, 1, 7, 1000)
	}
	for more := true; more; {
		if err := pool.QueryRow(t.Context(), `select more from orderflow.look_for_stranded('order_queue', 5000)`).Scan(&more); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into public.orders (customer_name, product_name, quantity, price) values ('new', 'b', 1, 1)`)
	exec(`update public.orders set status = 'completed', effects = 1, completed_at = now() where id = 5120`)
	check("after the search", pending, 1, 7, 1000)
	check("after the search", orders.Filter{Status: orders.StatusPending, CustomerName: "c"}, 7)
	check("after the search", orders.Filter{Status: orders.StatusPending, KeyPrefix: "1"}, 7)
	exec(`truncate orderflow.open_blocks; update orderflow.order_scan set filenode = 0`)
	check("in a table that has been restored", pending, 1, 7, 1000)
}

// listed walks a list to its end.
func listed(t *testing.T, store *orders.Store, filter orders.Filter, limit int) (ids []int64) {
	t.Helper()
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, err := store.List(t.Context(), filter, limit, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Orders {
			ids = append(ids, page.Orders[i].ID)
		}
		cursor = page.Next
	}
	return ids
}

// afterEach does something after each statement of a connection.
type afterEach func()

func (f afterEach) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (f afterEach) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { f() }

// A page is searched for by several statements. An order that comes between two of them must not bring one back that was found already.
func TestWhatComesDuringASearchBringsNothingBack(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	other := testdb.Connect(t, db)
	add := func(orders int) {
		if _, err := other.Exec(t.Context(), `
			insert into public.orders (customer_name, product_name, quantity, price, status, effects, completed_at)
			select 'a', 'b', 1, 1, 'completed', 1, now() from generate_series(1, $1)`, orders); err != nil {
			t.Error(err)
		}
	}
	add(5010) // a step looks at 5,000, and ends among these
	if _, err := other.Exec(t.Context(), `update public.orders set status = 'pending', effects = 0, completed_at = null where id <= 20`); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgxpool.ParseConfig(db)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = afterEach(func() { add(1) })
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	ids := listed(t, orders.NewStore(pool), orders.Filter{Status: orders.StatusPending}, 100)
	if len(ids) != 20 || !slices.Equal(ids, slices.Compact(slices.Clone(ids))) {
		t.Errorf("found %v", ids)
	}
}
