package schema_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/schema"
)

// withAnOrder is a migrated database with an order, and a function that notes a delivery of its message 1.
func withAnOrder(t *testing.T) (*database, func(read int, fields string) bool) {
	t.Helper()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`)
	return db, func(read int, fields string) bool {
		t.Helper()
		return ask[bool](t, db.conn, `
			select orderflow.note_history(jsonb_build_array(jsonb_build_object('order_id', id, 'created_at', created_at, 'msg_id', 1,
				'enqueued_at', created_at, 'ended_at', '2026-11-26T12:00:00Z', 'read_ct', $1::integer) || $2::jsonb))
			from orders`, read, fields)
	}
}

const told = `select seq, times, read_ct, outcome, attempt, error, consumer from orderflow.history order by seq`

func TestADeliveryIsToldOnce(t *testing.T) {
	t.Parallel()
	db, note := withAnOrder(t)
	for range 2 {
		note(1, `{"outcome": "failed", "attempt": 1, "error": "no", "consumer": "a"}`)
	}
	note(1, `{"outcome": "unanswered"}`) // what is known of it stays
	note(2, `{"outcome": "unanswered"}`)
	note(2, `{"outcome": "unanswered"}`)
	note(3, `{"outcome": "crashed", "attempt": 2, "consumer": "b"}`)
	note(3, `{"outcome": "lease_lost", "attempt": 0, "error": "late", "consumer": "b"}`) // that was no attempt
	note(3, `{"outcome": "crashed", "attempt": 2, "consumer": "b"}`)
	note(2, `{"outcome": "lease_lost", "consumer": "c"}`)
	wantTable(t, db.conn, told, lines("1|1|1|failed|1|no|a", "2|1|2|lease_lost|∅|∅|c", "3|1|3|lease_lost|∅|late|b"))
}

func TestHandBacksInARowAreOneRow(t *testing.T) {
	t.Parallel()
	db, note := withAnOrder(t)
	note(1, `{"outcome": "released", "due_at": "2026-11-26T10:00:00Z", "retry_at": "2026-11-26T11:00:00Z"}`)
	note(2, `{"outcome": "released", "due_at": "2026-11-26T11:00:00Z", "retry_at": "2026-11-26T12:00:00Z", "consumer": "b"}`)
	note(2, `{"outcome": "released", "due_at": "2026-11-26T11:00:00Z", "retry_at": "2026-11-26T12:00:00Z", "consumer": "b"}`)
	note(3, `{"outcome": "released", "error": "asked for patience", "started_at": "2026-11-26T12:00:00Z"}`)
	note(4, `{"outcome": "released", "error": "asked for patience", "started_at": "2026-11-26T12:00:00Z"}`)
	note(5, `{"outcome": "failed", "attempt": 1}`)
	note(6, `{"outcome": "released"}`)
	wantTable(t, db.conn, told, lines("1|2|2|released|∅|∅|b", "2|1|3|released|∅|asked for patience|∅", "3|1|4|released|∅|asked for patience|∅",
		"4|1|5|failed|1|∅|∅", "5|1|6|released|∅|∅|∅"))
	wantTable(t, db.conn, `select due_at = '2026-11-26T10:00:00Z', retry_at = '2026-11-26T12:00:00Z' from orderflow.history where seq = 1`, "t|t")
}

func TestAnOrderHasFortyRowsAtMost(t *testing.T) {
	t.Parallel()
	db, note := withAnOrder(t)
	for n := 1; n <= 130; n++ {
		note(n, fmt.Sprintf(`{"outcome": "failed", "attempt": %d}`, n))
	}
	wantTable(t, db.conn, `select count(*), count(*) filter (where seq <= 20), min(seq) filter (where seq > 20), max(seq), bool_and(seq = read_ct) from orderflow.history`,
		"40|20|111|130|t")
}

func TestOnlyOrdersThatAreThereHaveAHistory(t *testing.T) {
	t.Parallel()
	db, note := withAnOrder(t)
	note(1, `{"outcome": "failed", "order_id": 2}`)
	note(1, `{"outcome": "failed", "created_at": "2020-01-01T00:00:00Z"}`)
	wantTable(t, db.conn, `select count(*) from orderflow.history`, "0")
}

// Two messages of one order in one call, which is a statement of the consumer's.
func TestSeveralDeliveriesOfAnOrderAreToldAtOnce(t *testing.T) {
	t.Parallel()
	db, _ := withAnOrder(t)
	mustExec(t, db.conn, `
		select orderflow.note_history(jsonb_agg(jsonb_build_object('order_id', id, 'created_at', created_at, 'msg_id', m, 'read_ct', 1,
			'enqueued_at', created_at, 'ended_at', created_at, 'outcome', 'released')))
		from orders, generate_series(1, 3) m`)
	wantTable(t, db.conn, `select seq, msg_id from orderflow.history order by seq`, "1|1\n2|2\n3|3")
}

func TestARedriveIsTold(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	mustExec(t, db.conn, `select from orderflow.redrive($1, array[1, 5])`, queue)
	wantTable(t, db.conn, `select order_id, seq, msg_id, read_ct, outcome, settled_at is not null from orderflow.history`, "1|1|2|0|redriven|t")
}

// What an operator does belongs to the story: by which way and with what right, and why. Without them it was a role, by hand.
func TestWhatAnOperatorDoesIsTold(t *testing.T) {
	t.Parallel()
	db := withDeadLetters(t, schema.InstallSQL)
	role := ask[string](t, db.conn, `select session_user::text`)
	mustExec(t, db.conn, `select from orderflow.redrive($1, array[1])`, queue)
	mustExec(t, db.conn, `begin; select set_config('orderflow.operator', 'api, admin token', true), set_config('orderflow.operator_note', 'try again', true)`)
	mustExec(t, db.conn, `select from orderflow.redrive($1, array[4])`, queue)
	mustExec(t, db.conn, `commit`)
	mustExec(t, db.conn, `delete from pgmq."q_order-queue"`)
	mustExec(t, db.conn, `select from orderflow.requeue($1, array(select id from orders where status = 'pending'), 'infinity')`, queue)
	mustExec(t, db.conn, `update orders set status = 'dead' where id = 2`)
	mustExec(t, db.conn, `select orderflow.delete_dead_letters($1, array(select msg_id from pgmq."q_order-queue_dlq"))`, queue)
	wantTable(t, db.conn, `select order_id, outcome, consumer, error from orderflow.history order by order_id, seq`, lines(
		"1|redriven|role "+role+"|∅", "1|requeued|role "+role+"|∅",
		"2|deleted|role "+role+"|∅", // letter 3 goes too, of an order that is not dead
		"4|redriven|api, admin token|try again", "4|requeued|role "+role+"|∅",
	))
}

// What cannot be told keeps nobody from anything: it is said in a warning, and the caller's transaction goes on.
func TestAHistoryThatCannotBeWrittenIsAWarning(t *testing.T) {
	t.Parallel()
	db, note := withAnOrder(t)
	mustExec(t, db.conn, `alter table orderflow.history add constraint never check (false)`)
	mustExec(t, db.conn, `begin`)
	if note(1, `{"outcome": "failed"}`) {
		t.Error("it says that it has told it")
	}
	mustExec(t, db.conn, `update orders set attempts = 1; commit`)
	mustExec(t, db.conn, `alter table orderflow.history drop constraint never`)

	// A lock is waited for, though not for long.
	holder := connect(t, db.cfg)
	mustExec(t, holder, `begin; lock table orderflow.history in exclusive mode`)
	mustExec(t, db.conn, `set statement_timeout = '60s'`)
	if note(1, `{"outcome": "failed"}`) {
		t.Error("it says that it has told it, beside a lock")
	}
	if wait := ask[string](t, db.conn, `show lock_timeout`); wait != "0" {
		t.Errorf("lock_timeout is %s afterwards", wait)
	}
	mustExec(t, holder, `rollback`)
	if !note(1, `{"outcome": "failed"}`) {
		t.Error("it does not tell what it can tell")
	}
	wantTable(t, db.conn, `select count(*), (select attempts from orders) from orderflow.history`, "1|1")
}

// Rights: whoever may settle deliveries may tell of them, and not read, change or remove what is told.
func TestTheHistoryIsWrittenThroughItsFunctionOnly(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	conn := connect(t, db.as(roles.Consumer.Name, password))
	if !ask[bool](t, conn, `
		select orderflow.note_history(jsonb_build_array(jsonb_build_object('order_id', id, 'created_at', created_at, 'msg_id', 1, 'read_ct', 1,
			'enqueued_at', created_at, 'ended_at', created_at, 'outcome', 'failed'))) from orders`) {
		t.Error("a consumer cannot tell")
	}
	for _, statement := range []string{
		`select from orderflow.history`, `update orderflow.history set outcome = ''`, `delete from orderflow.history`,
		`insert into orderflow.history select * from orderflow.history`,
	} {
		if err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { _, err := tx.Exec(t.Context(), statement); return err }); !denied(err) {
			t.Errorf("a consumer may: %s (%v)", statement, err)
		}
	}
	wantTable(t, connect(t, db.as(roles.API.Name, password)), `select outcome from orderflow.history`, "failed")
}
