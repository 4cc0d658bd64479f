package worker_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
)

// A trigger that returns null makes a write match nothing, and nobody is told. Nothing may be taken for written that was not: no message
// is lost, no order is buried for it, readiness and the log say why, and all is well when the cause is gone.
func TestAWriteThatIsSuppressedIsNotTakenForWritten(t *testing.T) {
	for where, event := range map[string]string{
		"public.orders":          "update",
		"pgmq.q_order_queue":     "delete",
		"pgmq.q_order_queue_dlq": "insert",
	} {
		t.Run(event+" on "+where, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function swallow() returns trigger language plpgsql as $$ begin return null; end $$`)
			b.Exec(fmt.Sprintf(`create trigger swallow before %s on %s for each row execute function swallow()`, event, where))
			b.Publish(40)
			b.Exec(`update pgmq.q_order_queue set message = message || '{"quantity": "many"}' where msg_id % 10 = 0`)
			b.Send(`[]`, nil)
			r := b.start(settings(), noop)
			await.True(t, "it is not ready, and says why", func() bool {
				ok, why := r.Ready()
				return !ok && strings.Contains(why, "cannot be written")
			})
			await.True(t, "the log says why", func() bool { return r.log.count("trigger") > 0 })
			// A message that does not depend on the trigger may have had its end; no other.
			a := b.Audit()
			if a.Duplicated != 0 || a.Queued+a.Completed+a.Letters != 41 || a.Completed > 0 && where == "public.orders" ||
				a.Letters > 1 && where == "public.orders" || a.Letters > 0 && where != "public.orders" {
				t.Fatalf("%+v", a)
			}
			b.Exec(`drop trigger swallow on ` + where)
			if a := b.settled(); a.Completed != 36 || a.Dead != 4 || a.Letters != 5 {
				t.Fatalf("%+v", a)
			}
			if letters := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue_dlq
				where headers->'orderflow-dead'->>'reason' not in ($1, $2)`, message.ReasonBadMessage, message.ReasonNotAnObject); letters != 0 {
				t.Errorf("%d dead letters for another reason than what is wrong with the message", letters)
			}
			await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
			r.stop()
		})
	}
}

// A trigger need not suppress a write, it can also change it: what it leaves of an effect, a failure or a death may be none.
func TestAWriteThatIsUndoneIsNotTakenForWritten(t *testing.T) {
	for name, undo := range map[string]string{
		"everything":       `return old`,
		"the status":       `new.status := old.status; return new`,
		"the effect alone": `new.effects := old.effects; return new`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function undo() returns trigger language plpgsql as $$ begin ` + undo + `; end $$`)
			b.Exec(`create trigger undo before update on public.orders for each row execute function undo()`)
			b.Publish(10)
			b.Exec(`update pgmq.q_order_queue set message = message || '{"quantity": "many"}' where msg_id = 10`)
			r := b.start(settings(), noop)
			await.True(t, "it is not ready, and says why", func() bool {
				ok, why := r.Ready()
				return !ok && strings.Contains(why, "cannot be written")
			})
			if a := b.Audit(); a.Completed != 0 || a.Queued+a.Letters != 10 || a.Letters > 0 && name != "the effect alone" {
				t.Fatalf("%+v", a)
			}
			b.Exec(`drop trigger undo on public.orders`)
			if a := b.settled(); a.Completed != 9 || a.Duplicated != 0 || a.Dead != 1 || a.Letters != 1 {
				t.Fatalf("%+v", a)
			}
			await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
			r.stop()
		})
	}
}

// One order of many that somebody's trigger protects keeps no other from its end.
func TestOneSuppressedOrderKeepsNoOtherWaiting(t *testing.T) {
	b := setup(t)
	b.Exec(`create function swallow() returns trigger language plpgsql as $$ begin if old.id in (7, 70) then return null; end if; return new; end $$`)
	b.Exec(`create trigger swallow before update on public.orders for each row execute function swallow()`)
	s := settings()
	s.Batch, s.Concurrency = 100, 100
	b.Publish(100)
	r := b.start(s, noop)
	await.True(t, "all the others are completed", func() bool { return b.Audit().Completed == 98 })
	if a := b.Audit(); a.Pending != 2 || a.Queued != 2 || a.Letters != 0 {
		t.Fatalf("%+v", a)
	}
	if r.log.count("Order 7 processed successfully") != 0 {
		t.Error("the log says of an order that it was processed, and nothing is written")
	}
	b.Exec(`drop trigger swallow on public.orders`)
	b.settled()
	r.stop()
}

// The queue's rows cannot be leased: then the queue is not empty, and reading does not work. A lease that a trigger undoes is none either:
// everybody would be given the same one.
func TestAReadThatIsSuppressedIsNoEmptyQueue(t *testing.T) {
	for name, test := range map[string]struct {
		rows, kept string
		ofOne      bool // reads are
	}{
		"return null":                  {"3, 4", "null", false},
		"return old":                   {"3, 4", "old", false},
		"return null, to reads of one": {"1, 2, 3, 9", "null", true},
		"return old, to reads of one":  {"1, 2, 3, 9", "old", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function keep() returns trigger language plpgsql as $$ begin if old.msg_id in (` + test.rows + `) then return ` + test.kept + `; end if; return new; end $$`)
			b.Exec(`create trigger keep before update on pgmq.q_order_queue for each row execute function keep()`)
			b.Publish(10)
			s := settings()
			if test.ofOne {
				s.Batch, s.Concurrency = 1, 1
			}
			r := b.start(s, noop)
			await.True(t, "it is not ready, and says why", func() bool {
				ok, why := r.Ready()
				return !ok && strings.Contains(why, "trigger")
			})
			await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 9-strings.Count(test.rows, ",") })
			b.Exec(`drop trigger keep on pgmq.q_order_queue`)
			b.Notify()
			b.settled()
			await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
			r.stop()
			if n := r.log.count("the database accepts reads"); n != 1 {
				t.Errorf("it is said %d times that reading works again", n)
			}
		})
	}
}

// Nor does a row that cannot be leased keep a probe from finding out that the breaker may close.
func TestWhatIsSuppressedKeepsNoProbeWaiting(t *testing.T) {
	b := setup(t)
	b.Exec(`create function keep() returns trigger language plpgsql as $$ begin if old.msg_id <= 20 then return null; end if; return new; end $$`)
	b.Exec(`create trigger keep before update on pgmq.q_order_queue for each row execute function keep()`)
	b.Exec(`insert into orderflow.gate (queue, revision, breaker_open, since, reason, probe_at) values ($1, 1, true, clock_timestamp(), 'said so', clock_timestamp())`, dbtest.QueueName)
	b.Publish(35)
	r := b.start(breaking("probing"), noop)
	await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 15 })
	b.Exec(`drop trigger keep on pgmq.q_order_queue`)
	b.Notify()
	b.settled()
	r.stop()
}

// A row for which a trigger raises an error, whatever that says, cannot even be leased to be buried. It stays where it is, and keeps no other waiting.
func TestARowThatCannotBeLeasedStopsNoOther(t *testing.T) {
	for name, test := range map[string]struct {
		does, why string
		ofOne     bool // reads are
	}{
		"an exception":            {`raise exception 'not this one';`, "not this one", false},
		"a SQLSTATE of its own":   {`raise exception 'not this one' using errcode = 'SH001';`, "not this one", false},
		"a right that it lacks":   {`raise exception 'not this one' using errcode = '42501';`, "not this one", false},
		"a connection that fails": {`raise exception 'not this one' using errcode = '08001';`, "not this one", false},
		"a locked row":            {`perform from public.locked for update;`, "lock timeout", false},
		"a hang, to reads of one": {`perform pg_sleep(600);`, "statement timeout", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create table public.locked as select 1 as id`)
			hold, err := b.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = hold.Rollback(t.Context()) }()
			if _, err := hold.Exec(t.Context(), `select from public.locked for update`); err != nil {
				t.Fatal(err)
			}
			b.refuse("3, 7", test.does)
			b.Publish(10)
			s := settings()
			if test.ofOne {
				s.Batch, s.Concurrency = 1, 1
			}
			r := b.start(s, noop)
			await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 8 })
			await.True(t, "it is not ready, and says why", func() bool {
				ok, why := r.Ready()
				return !ok && strings.Contains(why, "2 due messages cannot be leased (msg_id 3 is one)") && strings.Contains(why, test.why)
			})
			if a := b.Audit(); a.Queued != 2 || a.Letters != 0 {
				t.Errorf("%+v", a)
			}
			r.stop()
			b.Exec(`drop trigger refuse on pgmq.q_order_queue`)
			r = b.start(s, noop) // which tries at once
			b.settled()
			r.stop()
		})
	}
}

// refuse makes a trigger that does something when somebody is about to lease one of those messages.
func (b *bundle) refuse(ids, does string) {
	b.t.Helper()
	b.Exec(`create function refuse() returns trigger language plpgsql as $$ begin if old.msg_id in (` + ids + `) then ` + does + ` end if; return new; end $$`)
	b.Exec(`create trigger refuse before update on pgmq.q_order_queue for each row execute function refuse()`)
}

// However many there are in front, they are found before the first of them is tried again.
func TestManyRowsThatCannotBeLeasedStopNoOther(t *testing.T) {
	for _, code := range []string{"P0001", "SH001"} {
		t.Run(code, func(t *testing.T) {
			b := setup(t)
			b.refuse("select generate_series(1, 300)", `raise exception 'not this one' using errcode = '`+code+`';`)
			b.Publish(310)
			r := b.start(settings(), noop)
			await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 10 })
			r.stop()
		})
	}
}

// When they are gone, as when somebody has deleted them, nothing is due that would show that reading works again.
func TestReadingWorksAgainWhenWhatCannotBeLeasedIsGone(t *testing.T) {
	b := setup(t)
	b.refuse("3, 4", `return null;`)
	b.Publish(10)
	r := b.start(settings(), noop)
	await.True(t, "it is not ready, and says why", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "trigger")
	})
	await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 8 })
	b.Exec(`delete from pgmq.q_order_queue`)
	await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
	r.stop()
}

// Row-level security under a role of the consumer's own hides rows from reads and from writes alike; both are errors, never an empty
// queue, an unknown order or an effect that was not.
func TestRowLevelSecurityIsAnErrorAndNotAFilter(t *testing.T) {
	for name, policies := range map[string]string{
		"orders, nothing for us": `alter table public.orders enable row level security`,
		"orders, to be seen only": `alter table public.orders enable row level security;
			create policy seen on public.orders for select using (true)`,
		"orders, some":          `alter table public.orders enable row level security; create policy even on public.orders using (id % 2 = 0)`,
		"the queue":             `alter table pgmq.q_order_queue enable row level security`,
		"the queue, to be seen": `alter table pgmq.q_order_queue enable row level security; create policy seen on pgmq.q_order_queue for select using (true)`,
		"the dead letters":      `alter table pgmq.q_order_queue_dlq enable row level security`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			address := b.role("consumer_rls")
			b.Exec(policies)
			b.Publish(4)
			b.Send(`[]`, nil)
			r := b.startOn(address, settings(), noop)
			await.True(t, "it is not ready, and says why", func() bool {
				ok, why := r.Ready()
				return !ok && strings.Contains(why, "row-level security")
			})
			if a := b.Audit(); a.Queued+a.Completed != 5 || a.Letters != 0 || a.Dead != 0 || name != "the dead letters" && a.Completed > 0 {
				t.Fatalf("%+v", a)
			}
			b.Exec(`alter table public.orders disable row level security; alter table pgmq.q_order_queue disable row level security;
				alter table pgmq.q_order_queue_dlq disable row level security`)
			b.Notify()
			if a := b.settled(); a.Completed != 4 || a.Letters != 1 {
				t.Fatalf("%+v", a)
			}
			r.stop()
		})
	}
}

// Nothing is due, so nothing is written; that nothing could be is known all the same.
func TestAnIdleConsumerKnowsThatNothingCanBeWritten(t *testing.T) {
	b := setup(t)
	address := b.role("consumer_ro")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	role := pgx.Identifier{u.User.Username()}.Sanitize()
	anew := func(sql string) {
		b.Exec(sql)
		b.Exec(`select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, u.User.Username())
	}
	s := settings()
	s.Poll = 100 * time.Millisecond
	r := b.startOn(address, s, noop)
	await.True(t, "it is ready", func() bool { ok, _ := r.Ready(); return ok })
	anew(`alter role ` + role + ` set default_transaction_read_only = on`)
	await.True(t, "it is not ready, and says why", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "read-only") && r.log.count("the database refuses writes") == 1
	})
	anew(`alter role ` + role + ` reset default_transaction_read_only`)
	await.True(t, "it says so no more", func() bool { _, why := r.Ready(); return !strings.Contains(why, "read-only") })
	b.Publish(1)
	b.settled()
	r.stop()
	if n := r.log.count("the database refuses writes"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// role makes a login role that may do what the migrations let a consumer do, and returns the database's address as that role.
func (b *bundle) role(prefix string) string {
	b.t.Helper()
	name := fmt.Sprintf("%s_%d", prefix, time.Now().UnixNano())
	quoted := pgx.Identifier{name}.Sanitize()
	b.Exec(`create role ` + quoted + ` login password 'secret'`)
	b.t.Cleanup(func() { b.Exec(`drop owned by ` + quoted + `; drop role ` + quoted) })
	b.Exec(`grant usage on schema public, pgmq, orderflow to ` + quoted + `;
		grant select on public.orders, public.orderflow_migrations, orderflow.installation to ` + quoted + `;
		grant select, insert, update on orderflow.gate to ` + quoted + `;
		grant update (status, attempts, effects, last_error, started_at, completed_at, processed_by, dead_at) on public.orders to ` + quoted + `;
		grant execute on function orderflow.note_history(jsonb) to ` + quoted + `;
		grant select, update, delete on pgmq.q_order_queue to ` + quoted + `;
		grant select, insert on pgmq.q_order_queue_dlq to ` + quoted + `;
		grant select on sequence pgmq.q_order_queue_msg_id_seq, pgmq.q_order_queue_dlq_msg_id_seq to ` + quoted)
	address, err := url.Parse(b.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	address.User = url.UserPassword(name, "secret")
	return address.String()
}

// Where an order cannot be told of a failure, its message is delayed all the same; and the failure is one, however often its outcome is written anew.
func TestAFailureThatItsOrderCannotBeToldOfIsCountedOnce(t *testing.T) {
	for name, does := range map[string]string{
		"the write is suppressed": `return null;`,
		"the write is spoiled":    `raise exception 'no failures here';`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function untold() returns trigger language plpgsql as $$ begin
				if new.status = 'pending' then perform pg_sleep(0.3); ` + does + ` end if;
				return new;
			end $$`)
			b.Exec(`create trigger untold before update on public.orders for each row execute function untold()`)
			b.Publish(1)
			r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
				if m.Attempt == 1 {
					return errFailed
				}
				return nil
			}))
			if a := b.settled(); a.Completed != 1 {
				t.Fatalf("%+v", a)
			}
			r.stop()
			if failed, retried := r.metric("messages_failed_total"), r.metric("messages_retried_total"); failed != 1 || retried != 1 {
				t.Errorf("%v failures and %v retries are counted of one attempt that failed", failed, retried)
			}
			if ms := dbtest.One[float64](b.DB, `select 1000 * date_part('epoch', settled_at - ended_at) from orderflow.history`); ms < 300 {
				t.Errorf("its history says that the attempt ended %v ms before that was written, which took 300 at least", ms)
			}
		})
	}
}
