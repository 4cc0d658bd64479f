package orders_test

import (
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
	exec(`insert into public.orders (customer_name, product_name, quantity, price, status, effects, completed_at, dead_at)
		select 'a', 'b', 1, 1, s, (s = 'completed')::integer, case when s = 'completed' then now() end, case when s = 'dead' then now() end
		  from generate_series(1, 20000) n, lateral (select case when n % 997 < 3 or n > 19990 or n between 5110 and 5130 then 'pending' when n % 501 = 0 then 'dead' else 'completed' end as s) as s`)
	store := orders.NewStore(pool)
	check := func(when string) {
		t.Helper()
		rows, err := pool.Query(t.Context(), `select id from public.orders where status = 'pending' order by id desc`)
		if err != nil {
			t.Fatal(err)
		}
		want, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 7, 1000} {
			var got []int64
			for cursor, first := "", true; first || cursor != ""; first = false {
				page, err := store.List(t.Context(), orders.Filter{Status: orders.StatusPending}, limit, cursor)
				if err != nil {
					t.Fatal(err)
				}
				for i := range page.Orders {
					got = append(got, page.Orders[i].ID)
				}
				cursor = page.Next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d in a page: %d orders %v, want %d %v", when, limit, len(got), got, len(want), want)
			}
		}
	}
	check("before the search")
	for range 3 {
		exec(`select orderflow.look_for_stranded('order_queue', 5000)`)
		check("during the search")
	}
	for more := true; more; {
		if err := pool.QueryRow(t.Context(), `select more from orderflow.look_for_stranded('order_queue', 5000)`).Scan(&more); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into public.orders (customer_name, product_name, quantity, price) values ('new', 'b', 1, 1)`)
	exec(`update public.orders set status = 'completed', effects = 1, completed_at = now() where id = 5120`)
	check("after the search")
	exec(`truncate orderflow.open_blocks; update orderflow.order_scan set filenode = 0`)
	check("in a table that has been restored")
}
