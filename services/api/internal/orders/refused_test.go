package orders_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/orders"
)

func (b *bench) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.db.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// raise is a trigger on a table that ends every insert with an error.
func raise(table, options string) string {
	return `
		create function rule() returns trigger language plpgsql as $$ begin raise exception 'not on a Sunday' using ` + options + `; end $$;
		create trigger rule before insert on ` + table + ` for each row execute function rule()`
}

// A client gives a 422 up, so only what the order itself breaks is one: a named constraint of the orders table.
func TestOnlyWhatTheOrderBreaksIsRefused(t *testing.T) {
	t.Parallel()
	const queue = "pgmq.q_order_queue"
	for name, test := range map[string]struct {
		sql    string
		reason string // empty: it is not the order's fault
	}{
		"a check":             {`alter table orders add constraint no_sevens check (customer_name <> 'Customer 7')`, `the constraint "no_sevens" of the table orders`},
		"a foreign key":       {`create table products (name text primary key); alter table orders add constraint known foreign key (product_name) references products`, `"known"`},
		"an exclusion":        {`alter table orders add constraint rare exclude using btree (quantity with =); insert into orders (customer_name, product_name, quantity, price) values ('a', 'b', 8, 1)`, `"rare"`},
		"a unique index":      {`create unique index once on orders (lower(customer_name)); insert into orders (customer_name, product_name, quantity, price) values ('Customer 7', 'b', 1, 1)`, `"once"`},
		"a rule in a trigger": {raise("orders", `errcode = 'check_violation', schema = 'public', table = 'orders', constraint = 'sundays'`), `not on a Sunday`},

		"an error of a trigger":       {raise("orders", `errcode = 'P0001'`), ""},
		"a fault of a trigger":        {raise("orders", `errcode = 'XX000'`), ""},
		"data of a trigger's":         {raise("orders", `errcode = '22012'`), ""},
		"another table's rule":        {raise("orders", `errcode = 'check_violation', schema = 'public', table = 'audit', constraint = 'sundays'`), ""},
		"a message's rule":            {raise(queue, `errcode = 'check_violation', schema = 'pgmq', table = 'q_order_queue', constraint = 'sundays'`), ""},
		"a check on messages":         {`alter table pgmq.q_order_queue add constraint short check (length(message::text) < 10)`, ""},
		"a column that we do not set": {`alter table orders add column region text not null`, ""},
		"message ids that come again": {`create unique index on orders (message_id); insert into orders (customer_name, product_name, quantity, price, message_id) select 'a', 'b', 1, 1, g from generate_series(1, 1000) g`, ""},
		"a sequence at its end":       {`alter sequence orders_id_seq maxvalue 3; select setval('orders_id_seq', 3)`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWriter(t, nil)
			b.exec(t, test.sql)
			before := b.count(t, `select count(*) from orders`)
			_, err := b.Write(one(order(7), ""))
			var refused *orders.RefusedError
			switch {
			case test.reason == "" && !errors.Is(err, orders.ErrUnavailable):
				t.Errorf("got %v", err)
			case test.reason != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, test.reason)):
				t.Errorf("got %v", err)
			}
			if n := b.count(t, `select count(*) from orders`) + b.count(t, `select count(*) from `+queue); n != before {
				t.Errorf("%d rows were written", n-before)
			}
		})
	}
}

// A sequence that is behind its table (a restored copy, rows with ids of their own) is drawn on until it is past it.
func TestASequenceBehindItsTableIsDrawnOn(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"messages": `insert into pgmq.q_order_queue (msg_id, vt, message) overriding system value select g, now(), '{}' from generate_series(1, 20) g`,
		"orders":   `insert into orders (id, customer_name, product_name, quantity, price) select g, 'a', 'b', 1, 1 from generate_series(1, 20) g`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWriter(t, nil)
			b.exec(t, sql)
			for i := range 3 {
				b.mustWrite(t, one(order(i), fmt.Sprint(i)))
			}
		})
	}
}

// REINDEX CONCURRENTLY gives an index another name for a while. A key that another replica writes first is still found.
func TestAKeyIsFoundWhateverItsIndexIsCalled(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.exec(t, `alter index orders_idempotency_key_idx rename to orders_idempotency_key_idx_ccnew`)
	tx, err := b.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := order(1)
	if _, err := tx.Exec(t.Context(), `insert into orders (customer_name, product_name, quantity, price, idempotency_key, message_id) values ($1, $2, $3, $4::bigint * 0.01, 'k', 7)`,
		o.CustomerName, o.ProductName, o.Quantity, int64(o.Price)); err != nil {
		t.Fatal(err)
	}
	type end struct {
		result orders.Result
		err    error
	}
	written := make(chan end, 1)
	go func() {
		result, err := b.Write(one(o, "k"))
		written <- end{result, err}
	}()
	look := b.connect(t)
	await.True(t, "the writer to wait for the other one", func() bool { return look.waiting(t) == 1 })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := <-written; e.err != nil || !e.result.Replayed {
		t.Errorf("got %+v, %v", e.result, e.err)
	}
}
