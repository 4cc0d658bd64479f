package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/schema"
)

// publish is what the api's statement does, in little: an order and its message, in one transaction. The orders are an hour old.
const publish = `
	with fresh as (
		select nextval(pg_get_serial_sequence('public.orders', 'id')::regclass) as id, clock_timestamp() - interval '1 hour' as at
		from generate_series(1, %d)
	),
	sent as (
		select f.*, s as msg_id
		from fresh f
		cross join lateral pgmq.send('` + queue + `', jsonb_build_object('order_id', f.id, 'created_at', to_char(f.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))) s
	)
	insert into orders (id, customer_name, product_name, quantity, price, created_at, message_id)
	select id, 'c', 'p', 1, 1, at, msg_id from sent`

// look takes steps of the search until nothing more is due, with every block due anew.
func (db *database) look() {
	db.t.Helper()
	mustExec(db.t, db.conn, `update orderflow.open_blocks set due_at = '-infinity'`)
	for range 3 { // one finds how far the next may go, which is done with the one after that
		for more := true; more; {
			more = ask[bool](db.t, db.conn, `select more from orderflow.look_for_stranded($1, 512)`, queue)
		}
	}
}

// stranded are the ids that the search has found.
func (db *database) wantStranded(want string) {
	db.t.Helper()
	wantTable(db.t, db.conn, `select coalesce(string_agg(i::text, ' ' order by i), '') from orderflow.open_blocks, unnest(stranded) i`, want)
}

func TestOrdersWithoutAMessageAreFound(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		mustExec(t, db.conn, fmt.Sprintf(publish, 8))
		db.look()
		db.wantStranded("")

		mustExec(t, db.conn, `select pgmq.pop($1)`, queue)
		mustExec(t, db.conn, `select pgmq.archive($1, 2)`, queue)
		mustExec(t, db.conn, `select pgmq.delete($1, 3)`, queue)
		mustExec(t, db.conn, `select pgmq.set_vt($1, 4, 1000)`, queue) // delayed
		mustExec(t, db.conn, `select pgmq.read($1, 30, 1)`, queue)     // in flight
		mustExec(t, db.conn, `delete from pgmq."q_order-queue" where msg_id = 6`)
		mustExec(t, db.conn, `update orders set status = 'completed', completed_at = now() where id = 6`)
		db.look()
		db.wantStranded("1 2 3")

		mustExec(t, db.conn, `select pgmq.purge_queue($1)`, queue)
		db.look()
		db.wantStranded("1 2 3 4 5 7 8")
	})
}

// A clock that was far ahead for a while has told when blocks are due. They are not left until then, nor until all others have been looked at.
func TestABlockThatIsDueLaterThanAnyCanBeIsLookedAt(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, fmt.Sprintf(publish, 1000))
	db.look()
	mustExec(t, db.conn, `delete from pgmq."q_order-queue" where msg_id in (1, 1000)`)
	const step = `select busy, more from orderflow.look_for_stranded('` + queue + `', 512)` // which is two blocks

	mustExec(t, db.conn, `update orderflow.open_blocks set due_at = now() + interval '1 year'`)
	wantTable(t, db.conn, step, "f|t")
	wantTable(t, db.conn, step, "f|f")
	db.wantStranded("1 1000")
	wantTable(t, db.conn, `select count(*) from orderflow.open_blocks where due_at > now() + interval '1 minute'`, "0")

	mustExec(t, db.conn, `update orderflow.open_blocks
		set stranded = '{}', due_at = case when block < 2 then now() - interval '1 second' else now() + interval '1 year' end`)
	wantTable(t, db.conn, step, "f|t")
	db.wantStranded("1000")
}

// What is on its way from one place to another is in one of them, whoever looks when.
func TestWhatHasAMessageSomewhereIsNotStranded(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, fmt.Sprintf(publish, 6))
	if err := db.migrate(schema.Options{Queue: "another"}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db.conn, `select pgmq.send('another', message) from pgmq."q_order-queue" where msg_id = 1`)
	mustExec(t, db.conn, `select pgmq.send($1, message, jsonb_build_object('orderflow-dead', jsonb_build_object('msg_id', msg_id)))
		from pgmq."q_order-queue" where msg_id = 2`, queue+"_dlq")
	mustExec(t, db.conn, `select pgmq.send($1, message) from pgmq."q_order-queue" where msg_id = 3`, queue) // by hand, under another id
	mustExec(t, db.conn, `delete from pgmq."q_order-queue" where msg_id <= 3`)
	// The FastAPI example has inserted, and has yet to send.
	mustExec(t, db.conn, `update orders set created_at = clock_timestamp() where id = 4`)
	mustExec(t, db.conn, `delete from pgmq."q_order-queue" where msg_id = 4`)
	// A message with the order's id and msg_id that is about another order, of a life that was lost.
	mustExec(t, db.conn, `update orders set created_at = created_at - interval '1 day 11 seconds' where id = 5`)

	db.look()
	db.wantStranded("5")
	acking := connect(t, db.cfg)
	mustExec(t, acking, `begin; delete from pgmq."q_order-queue" where msg_id = 6; update orders set status = 'completed' where id = 6`)
	db.look()
	db.wantStranded("5")
	mustExec(t, acking, `commit`)
	db.look()
	db.wantStranded("5")
}

// Ids are drawn in one order and committed in another.
func TestAnOrderThatIsCommittedLateIsNotPassedOver(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	late := connect(t, db.cfg)
	mustExec(t, late, `begin`)
	mustExec(t, late, fmt.Sprintf(publish, 1))
	mustExec(t, db.conn, fmt.Sprintf(publish, 600))
	db.look()
	wantTable(t, db.conn, `select position, looked_at from orderflow.order_scan`, "0|∅")
	mustExec(t, late, `commit`)
	db.look()
	wantTable(t, db.conn, `select position, looked_at is not null from orderflow.order_scan`, "601|t")
	mustExec(t, db.conn, `select pgmq.delete($1, 1)`, queue)
	mustExec(t, db.conn, `update orders set status = 'completed' where id > 1`)
	db.look()
	db.wantStranded("1")
	wantTable(t, db.conn, `select block from orderflow.open_blocks`, "0")
}

// The scan reads each order once; afterwards only what is new and what is open, however many orders there are.
func TestALookCostsWhatIsNewAndWhatIsOpen(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `
		insert into orders (customer_name, product_name, quantity, price, status, message_id)
		select 'c', 'p', 1, 1, case when n = 5000 then 'dead' when n = 9000 then 'pending' else 'completed' end, 0 from generate_series(1, 20000) n`)
	mustExec(t, db.conn, `update orders set created_at = created_at - interval '1 hour'`)
	db.look()
	db.wantStranded("9000")
	wantTable(t, db.conn, `select block from orderflow.open_blocks order by 1`, "19\n35")
	// A slow walk over all of them goes on beside it, by as many as the look is told.
	if read := ask[int64](t, db.conn, `select orders_read from orderflow.look_for_stranded($1, 512)`, queue); read > 512 {
		t.Errorf("a look when nothing is new and nothing due reads %d orders", read)
	}
	mustExec(t, db.conn, `update orders set status = 'completed' where id = 9000`)
	db.look()
	wantTable(t, db.conn, `select block from orderflow.open_blocks`, "19")
}

// Ids below what has been looked at come with a restore of the table alone, or by a hand.
func TestWhatComesBelowThePositionIsFound(t *testing.T) {
	t.Parallel()
	const byHand = `
		insert into orders (id, customer_name, product_name, quantity, price, status, created_at)
		select n, 'c', 'p', 1, 1, 'pending', now() - interval '1 hour' from generate_series(5, 6) n`
	scanned := func(t *testing.T) *database {
		db := migrated(t, schema.InstallSQL)
		mustExec(t, db.conn, fmt.Sprintf(publish, 1000))
		mustExec(t, db.conn, `update orders set status = 'completed'`)
		db.look()
		wantTable(t, db.conn, `select position from orderflow.order_scan`, "1000")
		return db
	}
	t.Run("by the slow walk", func(t *testing.T) {
		t.Parallel()
		db := scanned(t)
		mustExec(t, db.conn, `delete from orders where id in (5, 6)`)
		mustExec(t, db.conn, byHand)
		for range 4 {
			db.look()
		}
		db.wantStranded("5 6")
	})
	// The slow walk would find them in the end. A table that has another file is scanned anew, from its beginning, before that.
	t.Run("because the table has a new file", func(t *testing.T) {
		t.Parallel()
		db := scanned(t)
		mustExec(t, db.conn, `truncate orders`)
		mustExec(t, db.conn, byHand)
		mustExec(t, db.conn, `
			insert into orders (id, customer_name, product_name, quantity, price, status, created_at)
			select n, 'c', 'p', 1, 1, 'completed', now() - interval '1 hour' from generate_series(10, 4000) n`)
		mustExec(t, db.conn, `update orderflow.order_scan set patrol = 10`)
		for range 4 { // how far it may go; the first 512 orders; their block; and one more
			mustExec(t, db.conn, `update orderflow.open_blocks set due_at = '-infinity'`)
			mustExec(t, db.conn, `select from orderflow.look_for_stranded('`+queue+`', 512)`)
		}
		db.wantStranded("5 6")
	})
}

func TestOnlyOneLooksAtATime(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	other := connect(t, db.cfg)
	mustExec(t, other, `begin`)
	wantTable(t, other, `select busy from orderflow.look_for_stranded('`+queue+`', 512)`, "f")
	wantTable(t, db.conn, `select busy, more, orders_read from orderflow.look_for_stranded('`+queue+`', 512)`, "t|f|0")
	mustExec(t, other, `rollback`)
	wantTable(t, db.conn, `select busy from orderflow.look_for_stranded('`+queue+`', 512)`, "f")
}

func TestRequeueGivesANewMessageToWhatHasNone(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		mustExec(t, db.conn, fmt.Sprintf(publish, 5))
		mustExec(t, db.conn, `update orders set attempts = 3, last_error = 'e', quantity = 7, price = 12.30 where id = 1`)
		mustExec(t, db.conn, `delete from pgmq."q_order-queue" where msg_id in (1, 2, 3, 5)`)
		mustExec(t, db.conn, `update orders set status = 'completed' where id = 2`)
		mustExec(t, db.conn, `update orders set status = 'dead', dead_at = now() where id = 3`)
		mustExec(t, db.conn, `update orders set created_at = clock_timestamp() where id = 5`)
		db.look()
		db.wantStranded("1")
		listener := connect(t, db.cfg)
		mustExec(t, listener, `listen "orderflow_order-queue"`)

		const all = `select * from orderflow.requeue('` + queue + `', array[1, 2, 3, 4, 5, 99], clock_timestamp() - interval '5 minutes')`
		wantTable(t, db.conn, all, "1|6")
		wantTable(t, db.conn, all, "")
		wantTable(t, db.conn, `select message - 'created_at', headers, orderflow.moment(message ->> 'created_at') = (select created_at from orders where id = 1)
			from pgmq."q_order-queue" where msg_id > 5`,
			`{"price": 12.30, "order_id": 1, "quantity": 7, "product_name": "p", "customer_name": "c"}|{"schema": 1}|t`)
		wantTable(t, db.conn, `select status, message_id, attempts, last_error from orders where id = 1`, "pending|6|0|∅")
		db.wantStranded("")
		if _, err := listener.WaitForNotification(t.Context()); err != nil {
			t.Error(err)
		}
		db.look()
		db.wantStranded("")
	})
}

// Whoever takes a message away changes its order in the same transaction. A requeue waits for that, and looks after it.
func TestRequeueBesideOthersMakesNoSecondMessage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ other, end, requeued, messages string }{
		"an ack":             {`update orders set status = 'completed' where id = 1`, `commit`, "0", "0"},
		"another requeue":    {`select from orderflow.requeue('` + queue + `', array[1], now())`, `commit`, "0", "1"},
		"one that is undone": {`select from orderflow.requeue('` + queue + `', array[1], now())`, `rollback`, "1", "1"},
		"a message by hand": {
			`select from orders where id = 1 for update; select pgmq.send('` + queue + `', '{"order_id": 1}')`, `commit`, "0", "1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			mustExec(t, db.conn, fmt.Sprintf(publish, 1))
			mustExec(t, db.conn, `delete from pgmq."q_order-queue"`)
			if name == "a message by hand" {
				mustExec(t, db.conn, `update orders set message_id = null`) // or a message without created_at is not about it
			}
			other, requeue := connect(t, db.cfg), connect(t, db.cfg)
			mustExec(t, other, `begin`)
			for _, statement := range strings.Split(test.other, ";") {
				mustExec(t, other, statement)
			}
			done := make(chan string)
			go func() {
				var n string
				if err := requeue.QueryRow(t.Context(), `select count(*)::text from orderflow.requeue($1, array[1], now())`, queue).Scan(&n); err != nil {
					n = err.Error()
				}
				done <- n
			}()
			await.True(t, "it waits", func() bool {
				return ask[bool](t, db.conn, `select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')`, int32(requeue.PgConn().PID()))
			})
			mustExec(t, other, test.end)
			if n := <-done; n != test.requeued {
				t.Errorf("requeued %s, want %s", n, test.requeued)
			}
			wantTable(t, db.conn, `select count(*) from pgmq."q_order-queue"`, test.messages)
		})
	}
}

func TestRequeueNoticesWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, table := range []string{`orders`, `pgmq."q_order-queue"`} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			mustExec(t, db.conn, fmt.Sprintf(publish, 1))
			mustExec(t, db.conn, `delete from pgmq."q_order-queue"`)
			mustExec(t, db.conn, `create function swallow() returns trigger language plpgsql as 'begin return null; end'`)
			mustExec(t, db.conn, `create trigger swallow before insert or update on `+table+` for each row execute function swallow()`)
			_, err := db.conn.Exec(t.Context(), `select orderflow.requeue($1, array[1], now())`, queue)
			if !denied(err) {
				t.Errorf("got %v", err)
			}
			wantTable(t, db.conn, `select count(*) from pgmq."q_order-queue"`, "0")
		})
	}
}
