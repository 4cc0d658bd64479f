package orders_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/orders"
)

// Whatever keeps orders from being written, after one order that was not the writer knows by itself, and by itself it knows that
// the cause is gone.
func TestReadinessIsWhatTheLastStatementsDid(t *testing.T) {
	t.Parallel()
	const (
		dropRule = `drop function rule cascade`
		nothing  = `
			create function rule() returns trigger language plpgsql as 'begin return null; end';
			create trigger rule before insert on %s for each row execute function rule()`
		filter = `alter table %[1]s enable row level security; create policy p on %[1]s for all using (true) with check (true)`
	)
	const queue = "pgmq.q_order_queue"
	for name, test := range map[string]struct{ cause, end, reason string }{
		"read-only":                           {`alter role %role% set default_transaction_read_only = on`, `alter role %role% reset default_transaction_read_only`, "read-only"},
		"the table is locked":                 {`begin; lock table orders in exclusive mode`, `rollback`, "lock"},
		"the queue is locked":                 {`begin; lock table pgmq.q_order_queue in exclusive mode`, `rollback`, "lock"},
		"no right to insert orders":           {`revoke insert on orders from %role%`, `grant insert on orders to %role%`, "privilege"},
		"no right to send":                    {`revoke insert on pgmq.q_order_queue from %role%`, `grant insert on pgmq.q_order_queue to %role%`, "privilege"},
		"no queue":                            {`alter table pgmq.q_order_queue rename to q_other`, `alter table pgmq.q_other rename to q_order_queue`, "schema"},
		"no table":                            {`alter table orders rename to others`, `alter table others rename to orders`, "schema"},
		"no disk":                             {raise("orders", `errcode = 'disk_full'`), dropRule, "disk"},
		"no disk, as the commit finds out":    {atCommit(`raise exception 'no' using errcode = 'disk_full'`), dropRule, "disk"},
		"a slow commit":                       {atCommit(`perform pg_sleep(30)`), dropRule, "time"},
		"an internal error":                   {raise("orders", `errcode = 'XX000'`), dropRule, "XX000"},
		"a raised error":                      {raise(queue, `errcode = 'P0001'`), dropRule, "P0001"},
		"a slow statement":                    {`create function rule() returns trigger language plpgsql as 'begin perform pg_sleep(30); return new; end'; create trigger rule before insert on orders for each row execute function rule()`, dropRule, "time"},
		"a trigger that holds back orders":    {fmt.Sprintf(nothing, "orders"), dropRule, "trigger"},
		"a trigger that holds back messages":  {fmt.Sprintf(nothing, queue), dropRule, "trigger"},
		"a trigger that gives other ids":      {`create function rule() returns trigger language plpgsql as 'begin new.id := new.id + 1000; return new; end'; create trigger rule before insert on orders for each row execute function rule()`, dropRule, "trigger"},
		"a trigger that gives other moments":  {`create function rule() returns trigger language plpgsql as 'begin new.created_at := new.created_at - interval ''1 hour''; return new; end'; create trigger rule before insert on orders for each row execute function rule()`, dropRule, "trigger"},
		"a trigger that gives other messages": {`create function rule() returns trigger language plpgsql as 'begin new.message_id := null; return new; end'; create trigger rule before insert on orders for each row execute function rule()`, dropRule, "trigger"},
		"a trigger that gives messages ids":   {`create function rule() returns trigger language plpgsql as 'begin new.msg_id := new.msg_id + 1000; return new; end'; create trigger rule before insert on ` + queue + ` for each row execute function rule()`, dropRule, "trigger"},
		"row-level security on orders":        {fmt.Sprintf(filter, "orders"), `alter table orders disable row level security`, "row-level security"},
		"row-level security on messages":      {fmt.Sprintf(filter, queue), `alter table pgmq.q_order_queue disable row level security`, "row-level security"},
		"a sequence far behind":               {`insert into pgmq.q_order_queue (msg_id, vt, message) overriding system value select g, now(), '{}' from generate_series(2, 50000) g`, `delete from pgmq.q_order_queue where message = '{}'`, "sequence"},
		"prepared statements do not last":     {`create function rule() returns trigger language plpgsql as $$ begin raise exception 'prepared statement does not exist' using errcode = '26000'; end $$; create trigger rule before insert on orders for each statement execute function rule()`, dropRule, "pool"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, role, as := newRole(t, "")
			b := newWriterOn(t, as, db, func(c *orders.WriterConfig) {
				c.Timeout, c.Database.ConnectTimeout = time.Second, 10*time.Second
				if test.reason == "sequence" {
					c.Timeout = 20 * time.Second // has room for a hundred tries
				}
			})
			write := func(i int) bool {
				_, err := b.Write(one(order(i), fmt.Sprint(i)))
				return err == nil
			}
			await.True(t, "an order to be written", func() bool { return write(0) })
			other := b.connect(t)
			other.exec(t, forRole(test.cause, role))
			b.exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where usename = '`+role+`'`)
			await.True(t, "an order not to be written", func() bool {
				_, err := b.Write(one(order(1), "1"))
				if !errors.Is(err, orders.ErrUnavailable) && !errors.Is(err, orders.ErrUnknownOutcome) && !errors.Is(err, orders.ErrTimeout) {
					t.Fatalf("got %v", err)
				}
				return errors.Is(err, orders.ErrUnavailable)
			})
			await.True(t, "the writer to know", func() bool { return strings.Contains(b.NotReady(), test.reason) })
			other.exec(t, forRole(test.end, role))
			await.True(t, "the writer to know that it is over", func() bool { return b.NotReady() == "" })
			await.True(t, "orders to be written again", func() bool { return write(1) })
			b.check(t, 2)
		})
	}
}

// atCommit does something when an order's transaction comes to its end, and not before.
func atCommit(sql string) string {
	return `create function rule() returns trigger language plpgsql as $$ begin ` + sql + `; return null; end $$;
		create constraint trigger rule after insert on orders deferrable initially deferred for each row execute function rule()`
}

// One order that the database does not take, for a reason that no rule explains, is not the end of the others.
func TestOneOrdersTroubleIsNotTheWriters(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"an error":              `raise exception 'no'`,
		"an internal error":     `raise exception 'no' using errcode = 'XX000'`,
		"it is held back":       `return null`,
		"it is a duplicate":     `raise exception 'no' using errcode = 'unique_violation', schema = 'public', table = 'others', constraint = 'others_pkey'`,
		"it is never its turn":  `raise exception 'no' using errcode = 'deadlock_detected'`,
		"it needs what is gone": `perform from nothing`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWriter(t, nil)
			b.exec(t, `
				create function rule() returns trigger language plpgsql as $$ begin if new.customer_name = 'Customer 7' then `+sql+`; end if; return new; end $$;
				create trigger rule before insert on orders for each row execute function rule()`)
			for i := range 10 {
				if _, err := b.Write(one(order(7), "")); !errors.Is(err, orders.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				b.mustWrite(t, one(order(1), fmt.Sprint(i)))
			}
			b.check(t, 10)
		})
	}
}

// A trigger against the order that is made up for rehearsals says nothing of others: the one that was written last is tried first.
func TestARehearsalIsOfTheOrderThatWasWrittenLast(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.mustWrite(t, one(order(1), ""))
	b.exec(t, `
		create function rule() returns trigger language plpgsql as $$ begin if new.customer_name in ('rehearsal', 'Customer 7') then raise exception 'no'; end if; return new; end $$;
		create trigger rule before insert on orders for each row execute function rule()`)
	if _, err := b.Write(one(order(7), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := b.observed.failures.Load(); n != 1 || b.NotReady() != "" {
		t.Errorf("%d failures, not ready: %q", n, b.NotReady())
	}
}

// A trigger that this program knows nothing of takes neither the order that was written last nor the one it rehearses with, but takes
// others. Of those that come one is let in now and then, so that the writer learns of it.
func TestAnOrderIsLetInNowAndThen(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = time.Hour })
	b.mustWrite(t, one(order(1), ""))
	b.exec(t, `
		create function rule() returns trigger language plpgsql as $$ begin if new.customer_name <> 'Customer 5' then raise exception 'no'; end if; return new; end $$;
		create trigger rule before insert on orders for each row execute function rule()`)
	if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	await.True(t, "an order to be let in", func() bool { _, err := b.Write(one(order(5), "k")); return err == nil })
	if reason := b.NotReady(); reason != "" {
		t.Errorf("an order was written, and it is not ready: %s", reason)
	}
	b.check(t, 2)
}

// What is only found again is no proof that orders can be written.
func TestAReplayDoesNotMakeTheWriterReady(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = time.Hour })
	b.mustWrite(t, one(order(1), "k"))
	b.exec(t, raise("orders", `errcode = 'P0001'`))
	if _, err := b.Write(one(order(2), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	await.True(t, "a replay to be let in", func() bool { result, err := b.Write(one(order(1), "k")); return err == nil && result.Replayed })
	if b.NotReady() == "" {
		t.Error("it is ready, and orders cannot be written")
	}
}

// The connection ends whenever an order is sent, and at nothing else.
func TestReadinessKnowsAWayThatOrdersDoNotPass(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.mustWrite(t, one(order(0), ""))
	b.exec(t, `
		create function rule() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end';
		create trigger rule before insert on orders for each row execute function rule()`)
	if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	b.exec(t, `drop function rule cascade`)
	await.True(t, "the writer to know that it is over", func() bool { return b.NotReady() == "" })
	b.check(t, 1)
}

// While it is not ready, nobody waits to be refused: not even for a rehearsal that takes its time. One may be let in.
func TestNobodyWaitsForAWriterThatIsNotReady(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = time.Hour })
	b.mustWrite(t, one(order(1), ""))
	b.exec(t, raise("orders", `errcode = 'XX000'`))
	if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) || !strings.Contains(err.Error(), "XX000") {
		t.Errorf("got %v", err)
	}
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	release := b.hold(t)
	await.True(t, "a rehearsal to wait", func() bool { return b.waiting(t) == 1 })
	const clients = 5
	answers := make(chan error, clients)
	for range clients {
		go func() {
			_, err := b.Write(one(order(1), ""))
			answers <- err
		}()
	}
	for i := range clients {
		if i == clients-1 { // the one that was let in
			release()
		}
		select {
		case err := <-answers:
			if !errors.Is(err, orders.ErrUnavailable) || !strings.Contains(err.Error(), "XX000") { // why is known
				t.Errorf("got %v", err)
			}
		case <-time.After(await.Limit()):
			release()
			t.Fatal("they wait")
		}
	}
}

// Who has waited is told why the order was not written, as who comes later is.
func TestWhoHasWaitedIsToldWhy(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = time.Hour })
	b.mustWrite(t, one(order(0), ""))
	release := b.hold(t)
	answers := [2]chan error{make(chan error, 1), make(chan error, 1)}
	write := func(i int) { go func() { _, err := b.Write(one(order(i), fmt.Sprint(i))); answers[i] <- err }() }
	write(0)
	await.True(t, "a transaction to wait", func() bool { return b.waiting(t) == 1 })
	write(1)
	await.True(t, "an order to wait for its transaction", func() bool { return b.Queued() == 1 })
	b.monitor.down.Store(true)
	b.exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
	// It has a key and could be tried again, on a connection to a database that is away.
	if err := await.Value(t, "the order whose connection was lost", answers[0]); !errors.Is(err, orders.ErrUnknownOutcome) {
		t.Errorf("the order whose connection was lost: %v", err)
	}
	if err := await.Value(t, "the order that waited", answers[1]); !errors.Is(err, orders.ErrUnavailable) || !strings.HasSuffix(err.Error(), ": it is away by hand") {
		t.Errorf("the order that waited: %v", err)
	}
	release()
	full := newWriter(t, nil)
	full.mustWrite(t, one(order(0), ""))
	full.exec(t, raise("orders", `errcode = 'disk_full'`))
	if _, err := full.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) || !strings.HasSuffix(err.Error(), ": database's disk is full") {
		t.Errorf("the order that the disk has no room for: %v", err)
	}
}
