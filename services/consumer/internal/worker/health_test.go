package worker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/worker"
)

// One dead letter that cannot be written is tried again and again. With a pause of a second after each try, everybody's, 6,000
// orders in batches of 30 would take half a minute.
func TestWhatTheServerRefusesKeepsNothingElseWaiting(t *testing.T) {
	b := setup(t)
	b.Exec(`alter table pgmq.q_order_queue_dlq rename to elsewhere`)
	s := settings()
	s.Concurrency = 30
	b.Exec(`create view pgmq.q_order_queue_dlq as select * from pgmq.elsewhere limit 0`) // it is there, and takes nothing
	r := b.start(s, noop)
	b.Send(`[]`, nil)
	await.True(t, "the dead letter is refused", func() bool { return r.log.count("the database refuses burials") > 0 })
	if ok, why := r.Ready(); ok || !strings.Contains(why, "writing is refused") {
		t.Errorf("ready %t: %s", ok, why)
	}
	for range 6 {
		b.Publish(1000)
	}
	await.True(t, "all orders are completed", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from public.orders where status = 'completed'`) == 6000
	})
	b.Exec(`drop view pgmq.q_order_queue_dlq`)
	b.Exec(`alter table pgmq.elsewhere rename to q_order_queue_dlq`)
	await.True(t, "the dead letter is written", func() bool { return b.Audit().Letters == 1 })
	r.stop()
}

// A row takes two milliseconds, and the database's owner allows a statement 600 of them.
func TestABatchThatTakesTooLongIsMadeSmaller(t *testing.T) {
	for what, slow := range map[string]string{"a read": "pgmq.q_order_queue", "an ack": "public.orders"} {
		t.Run(what, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.002); return new; end $$`)
			b.Exec(`create trigger slow before update on ` + slow + ` for each row execute function slow()`)
			b.Exec(`do $$ begin execute format('alter database %I set statement_timeout = ''600ms''', current_database()); end $$`)
			s := settings()
			s.Batch, s.Concurrency = 1000, 1000
			b.Publish(1000)
			// Where acks are slow, all are at work until the last one is, so that they are acked together.
			var started atomic.Int64
			all := make(chan struct{})
			if slow != "public.orders" {
				close(all)
			}
			r := b.start(s, handle(func(context.Context, message.Message) error {
				if started.Add(1) == 1000 && slow == "public.orders" {
					close(all)
				}
				<-all
				return nil
			}))
			await.True(t, "all orders are completed", func() bool { return b.Audit().Completed == 1000 })
			if r.log.count("statement timeout") == 0 {
				t.Error("nothing took too long: the test shows nothing")
			}
			r.stop()
		})
	}
}

// A statement may take longer than a connection is waited for, and nothing but its size be the reason. The next one is smaller: with a hundred
// times as many, all of the same size would take too long, for ever.
func TestABatchThatHasNoAnswerIsMadeSmaller(t *testing.T) {
	for what, slow := range map[string]string{"a read": "pgmq.q_order_queue", "an ack": "public.orders"} {
		t.Run(what, func(t *testing.T) {
			const orders = 40 // which take four seconds; the second try may take six
			b := setup(t)
			b.Exec(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$`)
			b.Exec(`create trigger slow before update on ` + slow + ` for each row execute function slow()`)
			b.Exec(`create table statements (rows integer)`)
			b.Exec(`create function counted() returns trigger language plpgsql as $$ begin insert into statements select count(*) from changed; return null; end $$`)
			b.Exec(`create trigger counted after update on ` + slow + ` referencing new table as changed for each statement execute function counted()`)
			s := settings()
			s.Batch, s.Concurrency = orders, orders
			b.Publish(orders)
			// Where acks are slow, all are at work until the last one is, so that they are acked together.
			var started atomic.Int64
			all := make(chan struct{})
			r := b.startOn(b.URL, s, handle(func(context.Context, message.Message) error {
				if n := started.Add(1); n == orders && what == "an ack" {
					close(all)
				}
				if what == "an ack" {
					<-all
				}
				return nil
			}), func(c *worker.Consumer) { c.PauseBeforeAcks(time.Minute) })
			if what == "a read" {
				await.True(t, "all have been read", func() bool { return r.metric("messages_received_total") >= orders })
			} else {
				await.True(t, "all orders are completed", func() bool { return b.Audit().Completed == orders })
			}
			if r.log.count("no answer within") == 0 {
				t.Error("nothing took too long: the test shows nothing")
			}
			if largest := dbtest.One[int](b.DB, `select max(rows) from statements`); largest > orders/2 {
				t.Errorf("a statement about %d was tried until it worked", largest)
			}
			r.stop()
		})
	}
}

// slowCommits makes every commit that changes a message take a while: longer than a lease of a second.
const slowCommits = `
	create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1.2); return null; end $$;
	create constraint trigger slow after update on pgmq.q_order_queue deferrable initially deferred
	  for each row execute function slow()`

func TestLeasesAreMadeLongerWhereTheDatabaseIsSlow(t *testing.T) {
	b := setup(t)
	b.Exec(slowCommits)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Poll = time.Second, 800*time.Millisecond, time.Second
	b.Publish(1)
	r := b.start(s, noop)
	await.True(t, "the order is completed", func() bool { return b.Audit().Completed == 1 })
	if r.log.count("leases are made longer") == 0 {
		t.Errorf("nothing was slow: the test shows nothing; log:\n%s", r.log)
	}
	r.stop()
}

// A heartbeat holds the row of its message until it has committed. Were one sent after the other, the ack would never get it.
func TestAHeartbeatNeverKeepsItsOwnAckWaiting(t *testing.T) {
	b := setup(t)
	b.Exec(slowCommits)
	b.Exec(`create sequence step`)
	b.Exec(`create table extended (step bigint default nextval('step'))`)
	b.Exec(`create function note() returns trigger language plpgsql as $$ begin insert into extended default values; return null; end $$;
		create trigger note after update on pgmq.q_order_queue for each row
		  when (new.read_ct = old.read_ct and new.headers is not distinct from old.headers) execute function note()`)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Poll = time.Second, time.Minute, time.Second
	returned := make(chan int64, 10)
	b.Publish(1)
	r := b.start(s, handle(func(ctx context.Context, _ message.Message) error {
		// It ends in the middle of a heartbeat.
		const underWay = `select exists (select from pg_stat_activity where datname = current_database()
			and wait_event = 'PgSleep' and query like '%consumer: extend%')`
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for found := false; !found; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-again.C:
			}
			if err := b.QueryRow(ctx, underWay).Scan(&found); err != nil {
				return err
			}
		}
		returned <- dbtest.One[int64](b.DB, `select nextval('step')`)
		return nil
	}))
	await.True(t, "the order is completed", func() bool { return b.Audit().Completed == 1 })
	// One that was due at that very moment may come in between; back to back there would be dozens.
	step := await.Value(t, "the handler has returned", returned)
	if got := dbtest.One[int](b.DB, `select count(*) from extended where step > $1`, step); got > 2 {
		t.Errorf("%d heartbeats between the end of the handler and the ack", got)
	}
	r.stop()
}

// A read that was rolled back has leased nothing, although its messages had arrived.
func TestARolledBackReadLeavesNoLeaseBehind(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	sprung := proxy.Trap("commit", pgproxy.Unsent)
	s := settings()
	s.Drain = time.Millisecond
	b.Publish(5)
	r := b.startOn(address, s, handle(func(ctx context.Context, _ message.Message) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	await.Value(t, "the read is cut off", sprung)
	await.True(t, "the messages are worked on", func() bool { return r.metric("messages_in_flight") == 5 })
	await.True(t, "only what is worked on is held", func() bool { return r.metric("leases_held") == 5 })
	r.stop()
	if visible := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt <= clock_timestamp()`); visible != 5 {
		t.Errorf("%d of 5 messages were handed back", visible)
	}
}

// With no time to drain, a read may still be under way when the handlers have ended.
func TestAReadThatHangsAtADrainWithoutTimeIsHandedBackToo(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	committed := proxy.Trap("commit", pgproxy.Held)
	s := settings()
	s.Drain = 0
	b.Publish(5)
	r := b.startOn(address, s, noop)
	await.Value(t, "the read has been committed", committed)
	r.stop()
	if hidden := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt > clock_timestamp()`); hidden != 0 {
		t.Errorf("%d messages stay hidden", hidden)
	}
}
