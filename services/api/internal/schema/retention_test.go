package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// expire takes steps of a pass until it ends, each over a few orders, and returns how many orders were deleted.
func (db *database) expire(function string) (orders int64) {
	db.t.Helper()
	for more := true; more; {
		var deleted int64
		err := db.conn.QueryRow(db.t.Context(), `select more, orders_deleted from orderflow.`+function+`($1, clock_timestamp() - interval '1 hour', 3, '0s')`, queue).
			Scan(&more, &deleted)
		if err != nil {
			db.t.Fatal(err)
		}
		orders += deleted
	}
	return orders
}

// completed inserts orders as they are a while after their completion: created two hours ago and completed then, unless told otherwise.
func (db *database) completed(n int) {
	db.t.Helper()
	mustExec(db.t, db.conn, fmt.Sprintf(`
		insert into orders (customer_name, product_name, quantity, price, status, message_id, created_at, completed_at, effects)
		select 'c', 'p', 1, 1, 'completed', 1000 + n, now() - interval '2 hours', now() - interval '2 hours', 1 from generate_series(1, %d) n`, n))
}

func TestWhatWasCompletedLongAgoIsDeleted(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		db.completed(20)
		for _, change := range []string{
			`update orders set status = 'pending', completed_at = null where id in (1, 7)`,
			`update orders set status = 'dead', completed_at = null, dead_at = now() - interval '2 hours' where id = 3`,
			`update orders set completed_at = now() - interval '50 minutes' where id = 9`, // late
			`update orders set completed_at = 'infinity' where id = 10`,
			`insert into orderflow.history (order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, ended_at, settled_at)
				select id, created_at, 1, 1, 1, 1, 1, now(), 'failed', now(), now() from orders where id in (1, 2)`,
			`update orders set idempotency_key = 'k' where id = 2`,
			// Messages of completed orders: the order's own, a copy by hand, a dead letter, and one in another queue.
			`update orders set message_id = (select pgmq.send('Order-Queue', '{"order_id": 12}')) where id = 12`,
			`select pgmq.send('Order-Queue', '{"order_id": 13}')`,
			`select pgmq.send('Order-Queue_dlq', '{"order_id": 14}')`,
			`select pgmq.create('another')`,
			`select pgmq.send('another', '{"order_id": 15}')`,
			// Of no order.
			`select pgmq.send('Order-Queue', '[]')`,
			// Young ones, more than a step looks at.
			`update orders set created_at = now(), completed_at = now() where id > 16`,
		} {
			mustExec(t, db.conn, change)
		}
		if n := db.expire("expire_orders"); n != 7 {
			t.Errorf("%d orders were deleted", n)
		}
		wantTable(t, db.conn, `select string_agg(id::text, ' ' order by id) from orders`, "1 3 7 9 10 12 13 14 15 17 18 19 20")
		wantTable(t, db.conn, `select order_id from orderflow.history`, "1")

		// Their time comes, too.
		mustExec(t, db.conn, `update orders set completed_at = now() - interval '61 minutes' where id = 9`)
		mustExec(t, db.conn, `select pgmq.purge_queue('Order-Queue')`)
		mustExec(t, db.conn, `select pgmq.purge_queue('another')`)
		mustExec(t, db.conn, `select pgmq.purge_queue('Order-Queue_dlq')`)
		db.expire("expire_orders")
		wantTable(t, db.conn, `select string_agg(id::text, ' ' order by id) from orders`, "1 3 7 10 17 18 19 20")
		// A pass ends among young ones, however many there are.
		mustExec(t, db.conn, `update orderflow.retention set position = 16 where what = 'orders'`)
		wantTable(t, db.conn, `select more, orders_read from orderflow.expire_orders('Order-Queue', clock_timestamp() - interval '1 hour', 3, '0s')`, "f|3")
		// The key means a new order.
		mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price, idempotency_key) values ('c', 'p', 1, 1, 'k')`)
	})
}

// A clock that was far ahead for a while has left orders that will be young for long. They say nothing of those behind them.
func TestAPassGoesOnBeyondOrdersOfAClockFarAhead(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	db.completed(14)
	mustExec(t, db.conn, `update orders set created_at = now() + interval '2 days', status = 'pending', completed_at = null where id between 3 and 8`)
	mustExec(t, db.conn, `update orders set created_at = 'infinity', status = 'pending', completed_at = null where id between 9 and 11`)
	db.expire("expire_orders")
	wantTable(t, db.conn, `select string_agg(id::text, ' ' order by id) from orders`, "3 4 5 6 7 8 9 10 11")
}

func TestADeadOrderGoesWithItsLetter(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		db.completed(10)
		mustExec(t, db.conn, `update orders set status = 'dead', completed_at = null, dead_at = now() - interval '2 hours' where id <> 2`)
		letter := func(order string, headers string) {
			mustExec(t, db.conn, `select pgmq.send('Order-Queue_dlq', $1::jsonb, $2::jsonb)`, order, headers)
		}
		const headers = `{"orderflow-dead": {"reason": "max_attempts", "msg_id": %d}}`
		for id := 1; id <= 5; id++ {
			letter(fmt.Sprintf(`{"order_id": %d}`, id), fmt.Sprintf(headers, 1000+id))
		}
		letter(`{"order_id": 6}`, `{"orderflow-dead": {"reason": "other_order", "msg_id": 1006}}`) // 6 is another order, and has no letter
		letter(`[]`, `{}`)
		letter(`{"order_id": 8}`, fmt.Sprintf(headers, 1008))
		letter(`{"order_id": 10}`, fmt.Sprintf(headers, 1010))
		mustExec(t, db.conn, `update pgmq."q_order-queue_dlq" set enqueued_at = now() - interval '2 hours' where msg_id <> 8`)
		for _, change := range []string{
			`update orders set dead_at = now() where id in (7, 8, 10)`,                                         // young; 10 has died again
			`update orders set status = 'pending', dead_at = null where id = 3`,                                // by hand
			`update orders set message_id = (select pgmq.send('Order-Queue', '{"order_id": 4}')) where id = 4`, // a copy died
			`update pgmq."q_order-queue_dlq" set headers = jsonb_set(headers, '{orderflow-dead,msg_id}', (select to_jsonb(message_id) from orders where id = 4)) where msg_id = 4`,
			`insert into orderflow.history (order_id, created_at, slot, seq, times, msg_id, read_ct, enqueued_at, outcome, ended_at, settled_at)
				select id, created_at, 1, 1, 1, 1, 1, now(), 'failed', now(), now() from orders where id in (1, 3, 9)`,
		} {
			mustExec(t, db.conn, change)
		}
		if n := db.expire("expire_dead_letters"); n != 4 {
			t.Errorf("%d orders were deleted", n)
		}
		// 1 and 5 went with their letters, 6 and 9 had none; 2 is completed, and its letter was a duplicate.
		wantTable(t, db.conn, `select string_agg(id || ' ' || status, ', ' order by id) from orders`, "2 completed, 3 pending, 4 dead, 7 dead, 8 dead, 10 dead")
		wantTable(t, db.conn, `select string_agg(message ->> 'order_id', ' ' order by msg_id) from pgmq."q_order-queue_dlq"`, "3 4 8 10")
		wantTable(t, db.conn, `select order_id from orderflow.history`, "3")
	})
}

// A pass is taken up where the last step has left it, by whoever takes the next; and the next pass begins after a rest.
func TestAPassIsOneForAll(t *testing.T) {
	t.Parallel()
	for _, function := range []string{"expire_orders", "expire_dead_letters"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			db.completed(6)
			mustExec(t, db.conn, `select pgmq.send('Order-Queue_dlq', '[]') from generate_series(1, 6)`)
			mustExec(t, db.conn, `update pgmq."q_order-queue_dlq" set enqueued_at = now() - interval '2 hours'`)
			first, second := connect(t, db.cfg), connect(t, db.cfg)
			left := `select (select count(*) from orders) + (select count(*) from pgmq."q_order-queue_dlq")`
			step := func(rest string) string {
				return `select busy, more from orderflow.` + function + `('Order-Queue', clock_timestamp() - interval '1 hour', 4, '` + rest + `')`
			}

			mustExec(t, first, `begin`)
			wantTable(t, first, step("1h"), "f|t")
			wantTable(t, second, step("1h"), "t|f")
			mustExec(t, first, `commit`)
			wantTable(t, second, left, "8")
			wantTable(t, second, step("1h"), "f|f")
			wantTable(t, second, left, "6")
			db.completed(1)
			wantTable(t, first, step("1h"), "t|f")
			wantTable(t, first, `select count(*) from orderflow.retention where due_at > now() + interval '50 minutes' and position = 0`, "1")
		})
	}
}

// Nor is a pass to wait until a time that a clock far ahead has told.
func TestAPassThatIsDueLaterThanAfterARestIsDue(t *testing.T) {
	t.Parallel()
	for _, function := range []string{"expire_orders", "expire_dead_letters"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			step := `select busy, more from orderflow.` + function + `('Order-Queue', clock_timestamp() - interval '1 hour', 4, '1h')`
			mustExec(t, db.conn, `update orderflow.retention set due_at = now() + interval '1 year'`)
			wantTable(t, db.conn, step, "f|f")
			wantTable(t, db.conn, step, "t|f")
		})
	}
}

// What somebody has locked is left for the next pass: a step waits for nobody.
func TestAStepWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ made, locked, left, function string }{
		"completed orders": {`select`, `orders where id = 2`, `select id from orders`, "expire_orders"},
		"dead letters": {
			`delete from orders; select pgmq.send('Order-Queue_dlq', '[]') from generate_series(1, 4); update pgmq."q_order-queue_dlq" set enqueued_at = now() - interval '2 hours'`,
			`pgmq."q_order-queue_dlq" where msg_id = 2`, `select msg_id from pgmq."q_order-queue_dlq"`, "expire_dead_letters",
		},
		"dead orders that have no letter": {
			`update orders set status = 'dead', completed_at = null, dead_at = now() - interval '2 hours'`,
			`orders where id = 2`, `select id from orders`, "expire_dead_letters",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			db.completed(4)
			mustExec(t, db.conn, test.made)
			other := connect(t, db.cfg)
			mustExec(t, other, `begin; select from `+test.locked+` for update`)
			mustExec(t, db.conn, `set lock_timeout = '1ms'`)
			db.expire(test.function)
			wantTable(t, db.conn, test.left, "2")
			mustExec(t, other, `rollback`)
			db.expire(test.function)
			wantTable(t, db.conn, test.left, "")
		})
	}
}

func TestADeletionThatATriggerKeepsIsAnError(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	db.completed(2)
	mustExec(t, db.conn, `update orders set status = 'dead', dead_at = now() - interval '2 hours' where id = 2`)
	mustExec(t, db.conn, `create function keep() returns trigger language plpgsql as 'begin return null; end'`)
	mustExec(t, db.conn, `create trigger keep before delete on orders for each row execute function keep()`)
	for _, function := range []string{"expire_orders", "expire_dead_letters"} {
		_, err := db.conn.Exec(t.Context(), `select orderflow.`+function+`($1, clock_timestamp() - interval '1 hour', 10, '0s')`, queue)
		if !denied(err) || !strings.Contains(err.Error(), "trigger") {
			t.Errorf("%s: %v", function, err)
		}
	}
}
