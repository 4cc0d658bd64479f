package main

import (
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/program"
	"orderflow.example/kit/testdb"
)

// The api deletes by itself what is older than it has to be kept, with the rights of its own role; and says before how much that is.
func TestTheAPIDeletesWhatHasBeenKeptForLongEnough(t *testing.T) {
	t.Parallel()
	db, _, asRole := leastPrivileged(t)
	first := started(t, map[string]string{"DATABASE_URL": asRole})
	for i := range 4 {
		first.place(t, "/orders", orderJSON(i), "Idempotency-Key", "k"+string(rune('0'+i)))
	}
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), die, []int64{4}, "permanent"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`update orders set created_at = created_at - interval '3 hours'`,
		`delete from pgmq.q_order_queue where msg_id in (1, 2)`,
		`update orders set status = 'completed', completed_at = now() - interval '2 hours' where id = 1`,
		`update orders set status = 'completed', completed_at = now() where id = 2`,
		`update orders set dead_at = now() - interval '3 hours' where id = 4`,
		`update pgmq.q_order_queue_dlq set enqueued_at = now() - interval '3 hours'`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	want := "ORDER_RETENTION=1h0m0s: 1 of 2 completed orders are to be deleted\n" +
		"DEAD_LETTER_RETENTION=2h0m0s: 1 of 1 dead letters and 1 of 1 dead orders are to be deleted\n"
	if got := command(t, db, program.OK, "retention"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if n := count(t, db, `select count(*) from orders`); n != 4 {
		t.Errorf("%d orders are left: neither the command nor the default deletes any", n)
	}

	s := started(t, map[string]string{"DATABASE_URL": asRole, "ORDER_RETENTION": "1h", "DEAD_LETTER_RETENTION": "2h"})
	second := &service{url: s.metrics}
	await.True(t, "the deletion to be counted", func() bool {
		text := second.get(t, "/metrics").body
		return strings.Contains(text, "\norderflow_api_retention_orders_deleted_total 2\n") && strings.Contains(text, "\norderflow_api_retention_dead_letters_deleted_total 1\n")
	})
	if n := count(t, db, `select count(*) from orders where id in (2, 3)`); n != 2 {
		t.Errorf("%d of the orders that are to be kept are left", n)
	}
	if n := count(t, db, `select count(*) from pgmq.q_order_queue_dlq`); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	// A key is known as long as its order is.
	if a := s.post(t, "/orders", orderJSON(0), "Idempotency-Key", "k0"); a.status != http.StatusCreated || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the key of a deleted order: %d %s", a.status, a.body)
	}
	if a := s.post(t, "/orders", orderJSON(1), "Idempotency-Key", "k1"); a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the key of an order that is kept: %d %s", a.status, a.body)
	}
}

// A table of somebody's refers to the orders: they stay, the log says what to change, and then they go.
func TestOrdersThatAreReferredToStayUntilThatIsMended(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	conn := testdb.Connect(t, db)
	for _, sql := range []string{
		`insert into orders (customer_name, product_name, quantity, price, status, created_at, completed_at) values ('c', 'p', 1, 1, 'completed', now() - interval '2 hours', now() - interval '2 hours')`,
		`create table invoices (order_id bigint constraint of_order references orders)`,
		`insert into invoices values (1)`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	s := started(t, map[string]string{"DATABASE_URL": db, "ORDER_RETENTION": "1h"})
	line := s.log.await(t, "housekeeping: cannot delete orders; retrying")
	if text, _ := line["error"].(string); !strings.Contains(text, `public.invoices references orders that retention wants to delete: set its constraint of_order to on delete cascade`) {
		t.Errorf("the log does not say what to change: %v", line)
	}
	if n := count(t, db, `select count(*) from orders`); n != 1 {
		t.Errorf("%d orders", n)
	}
	if _, err := conn.Exec(t.Context(), `drop table invoices`); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the order to go", func() bool { return count(t, db, `select count(*) from orders`) == 0 })
}
