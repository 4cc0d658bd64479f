package orders

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
)

// large is a table in which the wrong plan would show: everything completed but for a few.
const large = `
	insert into orders (customer_name, product_name, quantity, price, status, dead_at, idempotency_key)
	select 'Customer ' || g % 1000, 'Product', 1, 1,
		case when g % 10000 = 5 then 'pending' when g % 5000 = 7 then 'dead' else 'completed' end,
		case when g % 5000 = 7 then now() end,
		'run-' || g % 50 || '-' || g
	from generate_series(1, 60000) g`

func explain(t *testing.T, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "explain "+sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

// The plan of publishing is made once, and must be the one that large tables need whether it is made while they are large,
// or while they are empty.
func TestPublishLooksKeysUpByIndex(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	cfg := testdb.Config(t, url, 5*time.Second)
	conn, err := database.Connect(t.Context(), cfg, publishSession)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Discard(conn)
	if _, err := conn.Exec(t.Context(), "prepare publish as "+publishSQL("order_queue")); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		plan := explain(t, conn, `execute publish('{1}', '{f}', '{a}', '{b}', '{1}', '{100}', '{k}', '{t}')`)
		if !strings.Contains(plan, "Index Scan using orders_idempotency_key_idx") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", when, plan)
		}
	}
	check("empty")
	if _, err := conn.Exec(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	check("large, with the old statistics")
	if _, err := conn.Exec(t.Context(), `analyze orders`); err != nil {
		t.Fatal(err)
	}
	check("large")
}

func TestListsUseAnIndex(t *testing.T) {
	t.Parallel()
	conn := testdb.Connect(t, testdb.New(t))
	if _, err := conn.Exec(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `analyze orders`); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		filter Filter
		after  string
		index  string
	}{
		{Filter{}, "", "orders_pkey"},
		{Filter{}, "40000", "orders_pkey"},
		{Filter{CustomerName: "Customer 7"}, "40000", "orders_customer_name_id_idx"},
		{Filter{KeyPrefix: "run-7-"}, "run-7-2", "orders_idempotency_key_idx"},
		{Filter{Status: StatusDead}, "", "orders_dead_idx"},
		{Filter{Status: StatusPending}, "50000", "orders_pkey"},
		{Filter{Status: StatusPending, CustomerName: "Customer 5"}, "", "orders_customer_name_id_idx"},
		{Filter{Status: StatusPending, KeyPrefix: "run-7-"}, "", "orders_idempotency_key_idx"},
	} {
		sql, args := statement(test.filter, 50, test.after, database.AsItIs)
		plan := explain(t, conn, sql, args...)
		if !strings.Contains(plan, test.index) || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%+v after %q:\n%s", test.filter, test.after, plan)
		}
	}
}
