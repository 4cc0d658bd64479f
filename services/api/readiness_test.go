package main

import (
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// Whatever the reason why orders cannot be written, readiness says no and why, without anybody asking it for orders any more, and
// yes when the reason has gone.
func TestReadinessSaysWhyOrdersCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ cause, end, reason string }{
		"set to read-only":   {`alter role %role% set default_transaction_read_only = on`, `alter role %role% reset default_transaction_read_only`, "read-only"},
		"no right":           {`revoke insert on pgmq.q_order_queue from %role%`, `grant insert on pgmq.q_order_queue to %role%`, "lacks a privilege"},
		"row-level security": {`alter table orders enable row level security; create policy p on orders for all using (true) with check (true)`, `alter table orders disable row level security`, "row-level security"},
		"a trigger":          {`create function rule() returns trigger language plpgsql as 'begin return null; end'; create trigger rule before insert on orders for each row execute function rule()`, `drop function rule cascade`, "were written than sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, role, asRole := leastPrivileged(t)
			s := started(t, map[string]string{"DATABASE_URL": asRole})
			s.place(t, "/orders", orderJSON(0))
			conn := testdb.Connect(t, db)
			change := func(sql string) {
				t.Helper()
				if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(sql, "%role%", role)).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			change(test.cause)
			change(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '%role%'`)
			await.True(t, "an order to be refused", func() bool {
				a := s.post(t, "/orders", orderJSON(1))
				if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
					t.Fatalf("got %d %s", a.status, a.body)
				}
				return strings.Contains(a.body, "nothing was written")
			})
			await.True(t, "readiness to say why", func() bool {
				a := s.get(t, "/readyz")
				return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, test.reason)
			})
			if a := s.get(t, "/livez"); a.status != http.StatusOK {
				t.Errorf("livez says %d", a.status)
			}
			change(test.end)
			s.awaitReady(t)
			if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if n := count(t, db, `select count(*) from orders o join pgmq.q_order_queue q on q.msg_id = o.message_id`); n != 2 {
				t.Errorf("%d orders with a message, want 2", n)
			}
		})
	}
}
