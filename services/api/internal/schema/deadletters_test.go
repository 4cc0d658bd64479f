package schema_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/schema"
)

// withDeadLetters is a migrated database with one order of each kind and a dead letter for each:
// 1 dead, 2 completed, 3 pending and its message in the queue, 4 pending without; letter 5 is of an order that nobody knows
// and letter 6 of none.
func withDeadLetters(t *testing.T, install schema.Install) *database {
	t.Helper()
	db := migrated(t, install)
	mustExec(t, db.conn, `select pgmq.send($1, '{"order_id": 3}')`, queue)
	mustExec(t, db.conn, `
		insert into orders (customer_name, product_name, quantity, price, status, message_id, attempts, last_error, dead_at)
		values
			('c', 'p', 1, 1, 'dead', 90, 5, 'out of stock', now()),
			('c', 'p', 1, 1, 'completed', 91, 1, null, null),
			('c', 'p', 1, 1, 'pending', 1, 0, null, null),
			('c', 'p', 1, 1, 'pending', 93, 0, null, null)`)
	for _, letter := range []struct{ message, headers string }{
		{`{"order_id": 1, "price": 1.00}`, `{"schema": 1, "traceparent": "00-1", "orderflow-dead": {"reason": "permanent"}, "orderflow-retry": 4}`},
		{`{"order_id": 2}`, `{"orderflow-dead": {}}`},
		{`{"order_id": 3}`, `{"orderflow-dead": {}}`},
		{`{"order_id": 4}`, `{"orderflow-dead": {}}`},
		{`{"order_id": 1e300}`, `{"schema": 1}`},
		{`[1]`, `null`},
	} {
		mustExec(t, db.conn, `select pgmq.send($1, $2::jsonb, $3::jsonb)`, queue+"_dlq", letter.message, letter.headers)
	}
	return db
}

func TestRedriveStartsOrdersAfresh(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := withDeadLetters(t, install)
		listener := connect(t, db.cfg)
		mustExec(t, listener, `listen "orderflow_order-queue"`)

		wantTable(t, db.conn, `select * from orderflow.redrive('Order-Queue', array[6, 5, 4, 3, 2, 1, 1, 99])`, "1|2|1\n4|3|4\n5|4|∅\n6|5|∅")
		wantTable(t, db.conn, `select msg_id, read_ct, vt <= clock_timestamp(), message, headers from pgmq."q_order-queue" order by 1`, lines(
			`1|0|t|{"order_id": 3}|∅`,
			`2|0|t|{"price": 1.00, "order_id": 1}|{"schema": 1, "traceparent": "00-1"}`,
			`3|0|t|{"order_id": 4}|∅`,
			`4|0|t|`+ask[string](t, db.conn, `select '{"order_id": 1e300}'::jsonb::text`)+`|{"schema": 1}`,
			`5|0|t|[1]|null`,
		))
		wantTable(t, db.conn, `select id, status, message_id, attempts, last_error, dead_at from orders order by id`, lines(
			`1|pending|2|0|∅|∅`, `2|completed|91|1|∅|∅`, `3|pending|1|0|∅|∅`, `4|pending|3|0|∅|∅`))
		wantTable(t, db.conn, `select msg_id from pgmq."q_order-queue_dlq" order by 1`, "2\n3")

		if _, err := listener.WaitForNotification(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRedriveIsUndoneWithItsTransaction(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)

	mustExec(t, db.conn, `begin`)
	wantTable(t, db.conn, `select order_id from orderflow.redrive('`+queue+`', array[1])`, "1")
	wantTable(t, db.conn, `select orderflow.delete_dead_letters('`+queue+`', array[2])`, "2")
	mustExec(t, db.conn, `rollback`)
	wantTable(t, db.conn, `select msg_id from pgmq."q_order-queue_dlq" order by 1`, "1\n2\n3\n4\n5\n6")
	wantTable(t, db.conn, `select status, attempts from orders where id = 1`, "dead|5")
	wantTable(t, db.conn, `select msg_id from pgmq."q_order-queue"`, "1")
}

func TestTwoRedrivesOfOneLetterMoveItOnce(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	first, second := connect(t, db.cfg), connect(t, db.cfg)

	mustExec(t, first, `begin`)
	wantTable(t, first, `select order_id from orderflow.redrive('`+queue+`', array[1, 4])`, "1\n4")
	moved := make(chan string)
	go func() {
		var n string
		if err := second.QueryRow(t.Context(), `select count(*)::text from orderflow.redrive($1, array[4, 1])`, queue).Scan(&n); err != nil {
			n = err.Error()
		}
		moved <- n
	}()
	await.True(t, "the second waits for the first", func() bool {
		return ask[bool](t, db.conn, `
			select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')`, int32(second.PgConn().PID()))
	})
	mustExec(t, first, `commit`)

	if n := <-moved; n != "0" {
		t.Errorf("the second redrive: %s", n)
	}
	wantTable(t, db.conn, `select count(*) from pgmq."q_order-queue" where message ->> 'order_id' = '1'`, "1")
}

// Two letters of one order must not become two messages.
func TestOneOrderIsRedrivenOnce(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.send($1, '{"order_id": 1}')`, queue+"_dlq")

	wantTable(t, db.conn, `select dead_msg_id, order_id from orderflow.redrive('`+queue+`', array[1, 7])`, "1|1")
	wantTable(t, db.conn, `select orderflow.delete_dead_letters('`+queue+`', array[7, 99])`, "7")
}

// The copy of a message died, and the order with it; the message itself waits for its retry.
func TestADeadOrderWhoseMessageIsInTheQueueIsNotRedriven(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	mustExec(t, db.conn, `update orders set status = 'dead', dead_at = now() where id = 3`)

	wantTable(t, db.conn, `select * from orderflow.redrive('`+queue+`', array[3])`, "")
	mustExec(t, db.conn, `select pgmq.delete($1, 1)`, queue)
	wantTable(t, db.conn, `select dead_msg_id, order_id from orderflow.redrive('`+queue+`', array[3])`, "3|3")
}

// The id of an order can come to belong to another one (a restore, a truncate). Its message is sent again, for the consumer to
// judge, and the order that has the id by now is left alone.
func TestRedriveLeavesAnotherOrderAlone(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.send($1, '{"order_id": 1}', '{"orderflow-dead": {"reason": "other_order"}}'::jsonb)`, queue+"_dlq")

	wantTable(t, db.conn, `select dead_msg_id, new_msg_id from orderflow.redrive('`+queue+`', array[7])`, "7|2")
	wantTable(t, db.conn, `select status, message_id, attempts, last_error from orders where id = 1`, "dead|90|5|out of stock")
}

// Whatever it died of: a letter is its order's by what it says of it, and by the order that names it.
func TestRedriveBindsNoMessageToAnotherOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		order, letter string
		own           bool
	}{
		"the same moment":                        {`created_at = '2026-01-07 19:48:03.123456+00'`, `"2026-01-07T19:48:03.123456"`, true},
		"another moment":                         {`created_at = '2026-01-07 19:48:03.123457+00'`, `"2026-01-07T19:48:03.123456+00:00"`, false},
		"no moment of the order, which names it": {`created_at = 'infinity', message_id = 8`, `"2026-01-07T19:48:03.123456+00:00"`, true},
		// As after "truncate ... restart identity" and a queue that was dropped and made again, beside its dead letters.
		"another moment, and a msg_id that came again": {`created_at = '2026-02-07 19:48:03.123457+00', message_id = 8`, `"2026-01-07T19:48:03.123456+00:00"`, false},
		"local time of an order that names it":         {`created_at = '2026-01-07 17:48:03.123456+00', message_id = 8`, `"2026-01-07T19:48:03.123456"`, true},
		"no moment, but the order names it":            {`message_id = 8`, `"soon"`, true},
		"the example's local time":                     {`created_at = '2026-01-07 17:48:03.123456+00', message_id = null`, `"2026-01-07T19:48:03.123456"`, true},
		"no moment":                                    {`message_id = 9`, `"soon"`, false},
	} {
		db := withDeadLetters(t, schema.InstallSQL)
		mustExec(t, db.conn, `update orders set `+test.order+` where id = 1`)
		mustExec(t, db.conn, `select pgmq.send($1, '{"order_id": 1, "created_at": `+test.letter+`}',
			'{"orderflow-dead": {"reason": "max_attempts", "msg_id": 8}}'::jsonb)`, queue+"_dlq")
		wantTable(t, db.conn, `select dead_msg_id, new_msg_id from orderflow.redrive('`+queue+`', array[7])`, "7|2")
		if pending := ask[bool](t, db.conn, `select status = 'pending' and message_id = 2 from orders where id = 1`); pending != test.own {
			t.Errorf("%s: the order was redriven: %t, want %t", name, pending, test.own)
		}
	}
}

// What is not written must not be taken for written: all or nothing, and an error that says what is in the way.
func TestRedriveNoticesWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	const never = `create function never() returns trigger language plpgsql as 'begin return null; end';`
	const (
		redriveOne = `select * from orderflow.redrive('` + queue + `', array[1])`
		deleteOne  = `select * from orderflow.delete_dead_letters('` + queue + `', array[1])`
	)
	for name, test := range map[string]struct{ obstacle, statement, want string }{
		"the letter stays": {
			never + `create trigger never before delete on pgmq."q_order-queue_dlq" for each row execute function never()`,
			redriveOne, "cannot be taken from",
		},
		"the message is not sent": {
			never + `create trigger never before insert on pgmq."q_order-queue" for each row execute function never()`,
			redriveOne, "cannot be put into",
		},
		"the order stays dead": {
			never + `create trigger never before update on orders for each row execute function never()`,
			redriveOne, "cannot be made pending",
		},
		"a deleted letter stays": {
			never + `create trigger never before delete on pgmq."q_order-queue_dlq" for each row execute function never()`,
			deleteOne, "cannot be deleted",
		},
		"a policy on the letters":           {policy(`pgmq."q_order-queue_dlq"`, "select"), redriveOne, "row-level security"},
		"a policy on the queue":             {policy(`pgmq."q_order-queue"`, "select"), redriveOne, "row-level security"},
		"a policy on orders":                {policy(`public.orders`, "select"), redriveOne, "row-level security"},
		"a policy on what is deleted":       {policy(`pgmq."q_order-queue_dlq"`, "delete"), deleteOne, "row-level security"},
		"a policy that hides what is there": {policy(`pgmq."q_order-queue_dlq"`, "update"), deleteOne, "row-level security"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := withDeadLetters(t, schema.InstallSQL)
			// An owner is bound by policies that are forced upon it; a superuser never is.
			owner := db.newRole("owner")
			quoted := pgx.Identifier{owner}.Sanitize()
			mustExec(t, db.conn, `create role `+quoted+` login password `+quote(password))
			mustExec(t, db.conn, `
				alter function orderflow.redrive owner to `+quoted+`;
				alter function orderflow.delete_dead_letters owner to `+quoted+`;
				grant usage on schema pgmq, orderflow to `+quoted+`;
				grant all on all tables in schema public, pgmq to `+quoted)
			const looks = `select (select count(*) from pgmq."q_order-queue"), (select count(*) from pgmq."q_order-queue_dlq"),
				(select string_agg(status, ' ' order by id) from orders)`
			before, err := table(t, db.conn, looks)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, db.conn, test.obstacle)

			if _, err := table(t, db.conn, test.statement); !denied(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
			wantTable(t, db.conn, looks, before)
		})
	}
}

// policy lets nobody but superusers see a table's rows.
func policy(table, command string) string {
	return `alter table ` + table + ` enable row level security; create policy p on ` + table + ` for ` + command + ` to public using (false)`
}

func TestAQueueThatIsNot(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	for _, statement := range []string{
		`select orderflow.redrive('nowhere', array[1])`,
		`select orderflow.delete_dead_letters('nowhere', array[1])`,
		`select orderflow.pause('nowhere', 'me', '')`,
	} {
		if _, err := table(t, db.conn, statement); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestTheOrderOfAMessage(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	for message, want := range map[string]string{
		`{"order_id": 7}`:                   "7",
		`{"order_id": 999999999999999999}`:  "999999999999999999",
		`{"order_id": 9999999999999999999}`: "∅",
		`{"order_id": -1}`:                  "∅",
		`{"order_id": 1.5}`:                 "∅",
		`{"order_id": "7"}`:                 "∅",
		`{"order_id": null}`:                "∅",
		`{"order_id": {"a": 1}}`:            "∅",
		`{}`:                                "∅",
		`[7]`:                               "∅",
		`7`:                                 "∅",
		`null`:                              "∅",
	} {
		wantTable(t, db.conn, `select orderflow.order_id('`+message+`')`, want)
	}
	wantTable(t, db.conn, `select orderflow.order_id(null)`, "∅")
}
