package worker_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// named is how a statement of the queue package begins.
func named(name string) string { return "/* orderflow consumer: " + name + " */" }

func sprintf(format string, a ...any) string { return fmt.Sprintf(format, a...) }

var noop = handle(func(context.Context, message.Message) error { return nil })

// A connection can be lost before a statement arrives, or after it has run and before its reply is seen. Whatever the
// statement was: nothing is lost, nothing happens twice, and nothing waits for the visibility timeout of two minutes.
func TestAConnectionLostAtAnyStatementLosesAndRepeatsNothing(t *testing.T) {
	for _, statement := range []string{"begin", named("fetch"), "commit", named("ack"), named("nack"), named("bury"), named("peek"), "listen"} {
		for fault, when := range map[pgproxy.Fault]string{pgproxy.Unsent: "before it is sent", pgproxy.Unanswered: "before it is answered"} {
			t.Run(statement+" "+when, func(t *testing.T) {
				b := setup(t)
				proxy, address := b.proxied()
				sprung := proxy.Trap(statement, fault)
				b.Publish(30)
				r := b.startOn(address, settings(), handle(func(_ context.Context, m message.Message) error {
					switch {
					case m.ID%5 == 0:
						return handler.Permanent(errFailed)
					case m.ID%2 == 0 && m.Attempt == 1:
						return errFailed
					}
					return nil
				}))
				await.Value(t, "the connection is cut", sprung)
				if a := b.settled(); a.Completed != 24 || a.Dead != 6 || a.Letters != 6 {
					t.Fatalf("%+v", a)
				}
				r.stop()
				wrong := dbtest.One[int](b.DB, `select count(*) from public.orders
					where attempts <> case when id % 5 <> 0 and id % 2 = 0 then 2 else 1 end`)
				if wrong != 0 {
					t.Errorf("%d orders have a wrong count of attempts", wrong)
				}
				if got := r.metric("lease_lost_total"); got != 0 {
					t.Errorf("%v leases are said to be lost; log:\n%s", got, r.log)
				}
				if got := r.metric("messages_processed_total"); got != 24 {
					t.Errorf("%v are said to be processed", got)
				}
			})
		}
	}
}

func TestAReleaseWhoseReplyIsLostIsRepeated(t *testing.T) {
	for fault, when := range map[pgproxy.Fault]string{pgproxy.Unsent: "before it is sent", pgproxy.Unanswered: "before it is answered"} {
		t.Run(when, func(t *testing.T) {
			b := setup(t)
			proxy, address := b.proxied()
			s := settings()
			s.Concurrency, s.Prefetch, s.Drain = 1, 10, time.Hour
			started, go_on := make(chan struct{}, 10), make(chan struct{})
			b.Publish(5)
			r := b.startOn(address, s, handle(func(context.Context, message.Message) error {
				started <- struct{}{}
				<-go_on
				return nil
			}))
			await.Value(t, "one starts", started)
			await.True(t, "the others wait", func() bool { return r.metric("leases_held") == 5 })
			sprung := proxy.Trap(named("release"), fault)
			r.drain()
			await.Value(t, "the connection is cut", sprung)
			close(go_on)
			r.stop()
			b.start(settings(), noop)
			if a := b.settled(); a.Completed != 5 {
				t.Fatalf("%+v", a)
			}
			if got := dbtest.One[int](b.DB, `select sum(attempts) from public.orders`); got != 5 {
				t.Fatalf("%d attempts for 5 orders", got)
			}
		})
	}
}

// What has piled up in an outage is more than one statement takes; when the first of them fails once more, the rest is not
// forgotten.
func TestResultsOfAnOutageAreAllWrittenAfterIt(t *testing.T) {
	const orders = 2000
	b := setup(t)
	proxy, address := b.proxied()
	s := settings()
	s.Batch, s.Prefetch = 1000, 2500
	go_on := make(chan struct{})
	b.Publish(orders)
	r := b.startOn(address, s, handle(func(context.Context, message.Message) error { <-go_on; return nil }))
	await.True(t, "all are held, and it listens", func() bool { return r.metric("leases_held") == orders && r.metric("listener_up") == 1 })
	proxy.Refuse()
	close(go_on)
	await.True(t, "all are done", func() bool { return r.metric("handler_seconds") == orders })
	await.True(t, "it says that it does not listen", func() bool { return r.metric("listener_up") == 0 })
	sprung := proxy.Trap(named("ack"), pgproxy.Unsent)
	proxy.Accept()
	await.Value(t, "the first statement after the outage fails", sprung)
	if a := b.settled(); a.Completed != orders {
		t.Fatalf("%+v", a)
	}
	r.stop()
	if got := dbtest.One[int](b.DB, `select max(attempts) from public.orders`); got != 1 || r.metric("lease_lost_total") != 0 {
		t.Fatalf("%d attempts, %v leases lost", got, r.metric("lease_lost_total"))
	}
}

// The results of an outage are written before anything is read. The leases of what failed have run out: a read would have it worked on once more,
// and its failure would not count.
func TestResultsOfAnOutageAreWrittenBeforeAnythingIsRead(t *testing.T) {
	const orders, outages = 4, 4 // without an order of things chance decides which comes first
	b := setup(t)
	proxy, address := b.proxied()
	s := settings()
	s.Poll = 100 * time.Millisecond
	var started atomic.Int64
	goOn := make(chan struct{})
	r := b.startOn(address, s, handle(func(_ context.Context, m message.Message) error {
		if m.Attempt > 1 {
			return nil
		}
		started.Add(1)
		<-goOn
		return errFailed
	}))
	for round := range outages {
		b.Publish(orders)
		await.True(t, "all are at work", func() bool { return started.Load() >= int64(round+1)*orders })
		proxy.Refuse()
		for range orders {
			goOn <- struct{}{}
		}
		await.True(t, "all have failed", func() bool { return r.metric("messages_failed_total") == float64((round+1)*orders) })
		tried := r.statements("nack")
		await.True(t, "the results cannot be written", func() bool { return r.statements("nack") >= tried+2 }) // by the second try they are overdue
		b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp()`)                                         // the leases run out
		proxy.Accept()
		await.True(t, "they are", func() bool {
			return b.Audit().Completed == (round+1)*orders || r.metric("lease_lost_total") > 0
		})
		if r.metric("lease_lost_total") > 0 {
			t.Errorf("orders were read again after outage %d", round+1)
			break
		}
	}
	close(goOn)
	b.settled()
	r.stop()
}

func TestItWaitsForADatabaseThatIsNotThereYet(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	proxy.Refuse()
	b.Publish(3)
	r := b.startOn(address, settings(), noop)
	await.True(t, "the first failures", func() bool { return r.outages.Load() >= 1 })
	if ok, _ := r.Ready(); ok {
		t.Error("ready without a database")
	}
	if ok, why := r.Alive(); !ok {
		t.Errorf("an outage is no reason to restart: %s", why)
	}
	proxy.Accept()
	b.settled()
	await.True(t, "it is ready", func() bool { ok, _ := r.Ready(); return ok })
	r.stop()
	// A refused connection can look like two or three different errors, and each is worth a line, once.
	late := r.log.late()
	if n, over := r.log.count("database unreachable")-late, r.log.count("database reachable"); n > 3 || over < 1 || over > 1+late {
		t.Errorf("one line per change of state and new error, not %d and %d:\n%s", n, over, r.log)
	}
}

// A password that is wrong does not become right by waiting. It is called that, and not an outage; and when somebody mends it, work begins.
func TestAWrongPasswordIsCalledThat(t *testing.T) {
	b := setup(t)
	role := fmt.Sprintf("password_%d_%d", os.Getpid(), time.Now().UnixNano())
	b.Exec("create role " + role + " login superuser password 'right'")
	t.Cleanup(func() { b.Exec("drop role " + role) })
	address, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "wrong")
	b.Publish(3)
	r := b.startOn(address.String(), settings(), noop)
	await.True(t, "readiness and the log say so", func() bool {
		ok, why := r.Ready()
		return !ok && strings.HasPrefix(why, "database refuses the password since ") && r.log.count("database refuses the password") > 0
	})
	if r.log.count("database refuses the password") != 1 || r.log.count("unreachable") > r.log.late() || r.log.count("the database refuses") != 0 {
		t.Errorf("the log does not say so once:\n%s", r.log)
	}
	b.Exec("alter role " + role + " password 'wrong'")
	b.settled()
	r.stop()
}

func TestItWaitsForTheSchema(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.Exec(`alter table public.orderflow_migrations rename to not_yet`)
	r := b.start(settings(), noop)
	await.True(t, "it says what it waits for", func() bool { return r.log.count("waiting for the database's schema") == 1 })
	if ok, _ := r.Ready(); ok {
		t.Error("ready without a schema")
	}
	b.Exec(`alter table public.not_yet rename to orderflow_migrations`)
	b.settled()
}

// Without the row that names the installation, orders could not be named to anybody. Whoever has emptied the table, to restore it, is told.
func TestItWaitsForTheInstallationsName(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.Exec(`create table kept as select * from orderflow.installation; truncate orderflow.installation`)
	r := b.start(settings(), noop)
	await.True(t, "it says what it waits for", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "orderflow.installation is empty") && r.log.count("orderflow.installation is empty") == 1
	})
	b.Exec(`insert into orderflow.installation select * from kept`)
	b.settled()
	if ok, why := r.Ready(); !ok {
		t.Errorf("not ready: %s", why)
	}
	r.stop()
}

// idle waits until the one consumer that there is does not look any more, since it has said all that there is to say.
func (b *bundle) idle() {
	b.t.Helper()
	await.True(b.t, "it is idle", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pg_stat_activity where datname = current_database() and application_name like 'orderflow-consumer%'
			and query like '%consumer: peek%' and state = 'idle' and state_change < clock_timestamp() - interval '3 seconds'`) == 1
	})
}

// While everybody is idle one consumer gets a message and dies. The others have been notified, and have read nothing; they look again when the
// message is due, and not when they would have looked anyway.
func TestTheMessageOfAConsumerThatDiedIsReadWhenItIsDue(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Poll = 2*time.Second, time.Second, time.Hour
	r := b.start(s, noop)
	b.idle()
	b.Exec(`with o as (insert into public.orders (customer_name, product_name, quantity, price) values ('a', 'b', 1, 1) returning *),
		dead as (insert into pgmq.q_order_queue (read_ct, enqueued_at, vt, message)
			select 1, created_at, clock_timestamp() + interval '1 second', jsonb_build_object('order_id', id, 'created_at', created_at) from o)
		select pg_notify('orderflow_order_queue', '')`)
	await.True(t, "it is told", func() bool { return r.metric("wakeups_total") > 0 })
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
	r.stop()
}

func TestItSurvivesConnectionsBeingTerminatedOverAndOver(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Backoff.Max = 5 * time.Millisecond
	s.MaxAttempts = 100
	r := b.start(s, handle(func(_ context.Context, m message.Message) error {
		if m.Attempt == 1 {
			return errFailed
		}
		return nil
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for range 60 {
			<-again.C
			_, _ = b.Pool.Exec(context.Background(), `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and application_name like 'orderflow-consumer%'`)
		}
	}()
	for range 40 {
		b.Publish(50)
	}
	await.Value(t, "the killing ends", done)
	if a := b.settled(); a.Completed != 2000 {
		t.Fatalf("%+v", a)
	}
	r.stop()
	if got := r.metric("lease_lost_total"); got != 0 {
		t.Errorf("%v leases are said to be lost", got)
	}
}

func TestItSurvivesTCPCutsInTheMiddleOfItsWork(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	r := b.startOn(address, settings(), noop)
	for range 30 {
		b.Publish(50)
		proxy.Cut()
	}
	if a := b.settled(); a.Completed != 1500 {
		t.Fatalf("%+v", a)
	}
	r.stop()
}

func TestAServerThatHangsIsLeftAndComeBackTo(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	started, go_on := make(chan struct{}, 100), make(chan struct{})
	r := b.startOn(address, settings(), handle(func(context.Context, message.Message) error {
		started <- struct{}{}
		<-go_on
		return nil
	}))
	b.Publish(8)
	await.Value(t, "work is under way", started)
	proxy.Freeze()
	close(go_on)
	await.True(t, "the hang is noticed", func() bool { return r.outages.Load() >= 1 })
	b.Publish(8)
	proxy.Thaw()
	begin := time.Now()
	if a := b.settled(); a.Completed != 16 {
		t.Fatalf("%+v", a)
	}
	t.Logf("recovered %s after the hang", time.Since(begin).Round(time.Millisecond))
	r.stop()
	if got := r.metric("lease_lost_total"); got != 0 {
		t.Errorf("%v leases are said to be lost", got)
	}
}

func TestConnectionsThatHaveGoneSilentAreAllReplacedAtOnce(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	s := settings()
	s.Poll = 200 * time.Millisecond
	r := b.startOn(address, s, noop)
	publish := func(n int) {
		before := r.metric("messages_processed_total")
		b.Publish(n)
		b.settled()
		await.True(t, "it has heard so", func() bool {
			return r.metric("leases_held") == 0 && r.metric("messages_processed_total") == before+float64(n)
		})
	}
	publish(1)
	await.True(t, "only one is waited for", func() bool { // where the machine pauses for as long, another one is, and it is tried again
		before := r.log.count("no answer within")
		proxy.Silence()
		begin := time.Now()
		publish(10)
		waited := r.log.count("no answer within") - before
		t.Logf("recovered after %s, having waited for %d", time.Since(begin).Round(time.Millisecond), waited)
		return waited == 1
	})
}

func TestALostListenerIsReplaced(t *testing.T) {
	b := setup(t)
	r := b.start(settings(), noop)
	b.Publish(1)
	b.settled()
	for range 3 {
		await.True(t, "it listens", func() bool {
			return dbtest.One[int](b.DB, `select count(*) from pg_stat_activity where datname = current_database()
				and application_name like 'orderflow-consumer%' and query like '%consumer: peek%'`) == 1 && r.metric("listener_up") == 1
		})
		before := r.metric("reconnects_total")
		b.Exec(`select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and application_name like 'orderflow-consumer%'`)
		await.True(t, "the listener is back", func() bool { return r.metric("reconnects_total") > before })
		// Nobody polls within the test's time: only a notification can bring this order through.
		b.Publish(1)
		b.settled()
	}
}

func TestALostNotificationCostsAPollInterval(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Poll = 200 * time.Millisecond
	b.start(s, noop)
	await.True(t, "it is idle", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pg_stat_activity where datname = current_database()
			and application_name like 'orderflow-consumer%' and state = 'idle' and query like '%consumer: peek%'`) == 1
	})
	b.Exec(`select setval(pg_get_serial_sequence('public.orders', 'id'), 100)`)
	b.Exec(`with o as (insert into public.orders (customer_name, product_name, quantity, price) values ('a', 'b', 1, 1) returning id)
		select pgmq.send('order_queue', jsonb_build_object('order_id', id)) from o`)
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
}

// A session that sits in a transaction keeps every consumed message's index entries in front of those that are due.
func TestWorkGoesOnWhileVacuumIsHeldBack(t *testing.T) {
	b := setup(t)
	holder, err := b.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.WithoutCancel(t.Context()))
	if _, err := holder.Exec(t.Context(), `select txid_current()`); err != nil {
		t.Fatal(err)
	}
	b.Exec(`insert into pgmq.q_order_queue (vt, message) select clock_timestamp(), '{}' from generate_series(1, 100000)`)
	b.Exec(`delete from pgmq.q_order_queue`)
	b.start(settings(), noop)
	for range 20 {
		b.Publish(100)
	}
	// One that was committed long after its due time, as if its transaction had taken so long.
	await.True(t, "it reads near the end", func() bool { return b.Audit().Completed > 200 })
	id := dbtest.One[int64](b.DB, `insert into public.orders (customer_name, product_name, quantity, price)
		values ('late', 'p', 1, 1) returning id`)
	b.Exec(`insert into pgmq.q_order_queue (vt, message)
		values (clock_timestamp() - interval '1 hour', jsonb_build_object('order_id', $1::bigint))`, id)
	if a := b.settled(); a.Completed != 2001 { // though nobody was notified of it
		t.Fatalf("%+v", a)
	}
}

func TestAnIdleConsumerAsksOncePerPollInterval(t *testing.T) {
	b := setup(t)
	seldom, address := b.proxied()
	s := settings()
	s.Poll = time.Hour
	r := b.startOn(address, s, noop)
	b.Publish(1)
	b.settled()
	await.True(t, "it is idle", func() bool { return r.metric("leases_held") == 0 })
	often, address := b.proxied()
	s.Poll = 100 * time.Millisecond
	b.startOn(address, s, noop)
	// The other one is the clock, when it has begun. Meanwhile wake-ups that were still under way are over.
	polls := func(n int64) {
		before := often.Requests()
		await.True(t, "the other one has polled", func() bool { return often.Requests() >= before+n })
	}
	polls(30)
	before := seldom.Requests()
	polls(20)
	if asked := seldom.Requests() - before; asked > 2 { // a look after a slow one, and its report
		t.Errorf("it asked %d times while one asked twenty times whose poll interval is 100 ms, and its own is an hour", asked)
	}
}

// While a handler takes its time there may be something to report at any moment, but nothing is asked all the time.
func TestAConsumerWithASlowHandlerAsksNowAndThen(t *testing.T) {
	b := setup(t)
	seldom, address := b.proxied()
	s := settings()
	s.Poll = time.Hour
	free := make(chan struct{})
	r := b.startOn(address, s, handle(func(context.Context, message.Message) error { <-free; return nil }))
	b.Publish(1)
	await.True(t, "its handler runs", func() bool { return r.metric("messages_in_flight") == 1 })
	often, address := b.proxied()
	s.Poll = 100 * time.Millisecond
	b.startOn(address, s, noop)
	// The other one is the clock, when it has begun.
	polls := func(n int64) {
		clock := often.Requests()
		await.True(t, "the other one has polled", func() bool { return often.Requests() >= clock+n })
	}
	polls(30)
	before := seldom.Requests()
	polls(40)
	if asked := seldom.Requests() - before; asked > 40 { // a few, where it was thousands
		t.Errorf("it asked %d times while one asked forty times whose poll interval is 100 ms, and its own is an hour", asked)
	}
	close(free)
	b.settled()
}

func TestARefusalIsSaidOnceAndMakesTheConsumerUnready(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Poll = 50 * time.Millisecond
	r := b.start(s, noop)
	b.Publish(1)
	b.settled()
	b.Exec(`alter table pgmq.q_order_queue rename to elsewhere`)
	await.True(t, "it says so", func() bool { return r.log.count("the database refuses reads") == 1 })
	if ok, why := r.Ready(); ok {
		t.Errorf("ready: %s", why)
	}
	await.True(t, "it has tried several times", func() bool { return r.metric("wakeups_total") > 10 })
	b.Exec(`alter table pgmq.elsewhere rename to q_order_queue`)
	b.Publish(1)
	b.settled()
	await.True(t, "it says that it works again", func() bool { return r.log.count("the database accepts reads again") == 1 })
	if r.log.count("the database refuses reads") != 1 {
		t.Error("more than one line per change of state")
	}
}

// What became of an ack that was passed over is asked in the same round trip. Without the answer it is tried again.
func TestWhatIsNotKnownToBeWrittenIsWrittenAgain(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	b.Publish(1)
	other, err := b.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(t.Context()))
	if _, err := other.Exec(t.Context(), `select from public.orders where id = 1 for update`); err != nil {
		t.Fatal(err)
	}
	var n tries
	asked := proxy.Trap(named("fate"), pgproxy.Unsent)
	r := b.startOn(address, settings(), handle(func(_ context.Context, m message.Message) error { n.note(m); return nil }))
	await.Value(t, "the question after the locked order is cut off", asked)
	await.Value(t, "it is asked again, after another try", proxy.Trap(named("fate"), pgproxy.Unsent))
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
	r.stop()
	if got := r.metric("messages_processed_total"); got != 1 || n.total() != 1 {
		t.Fatalf("%v are said to be processed, after %d handler calls", got, n.total())
	}
}

// A batch that is refused for what it contains is written in halves. When the connection is lost at the first one, the second is
// written all the same.
func TestALostConnectionInTheMiddleOfARefusedBatchLosesNothing(t *testing.T) {
	for name, refusal := range map[string]string{
		"it contains what cannot be written": `raise exception 'not these'`,
		"it takes too long":                  `raise exception 'too long' using errcode = 'query_canceled'`,
	} {
		t.Run(name, func(t *testing.T) {
			const orders = 30
			b := setup(t)
			proxy, address := b.proxied()
			b.Exec(`create sequence statements`)
			b.Exec(sprintf(`create function fault() returns trigger language plpgsql as $$
				begin
				  case nextval('statements')
				    when 2 then %s;
				    when 3 then perform pg_terminate_backend(pg_backend_pid());
				    else null;
				  end case;
				  return null;
				end $$`, refusal))
			b.Exec(`create trigger fault before update on public.orders for each statement execute function fault()`)
			s := settings()
			s.Concurrency = orders
			b.Publish(orders)
			var n tries
			others := make(chan struct{})
			acked := proxy.Trap(named("ack"), pgproxy.Held)
			r := b.startOn(address, s, handle(func(_ context.Context, m message.Message) error {
				n.note(m)
				if m.ID > 1 {
					<-others
				}
				return nil
			}))
			// The first ack is on its way while the other results gather.
			await.Value(t, "the first is acked", acked)
			close(others)
			await.True(t, "the others are done", func() bool { return r.metric("handler_seconds") == orders })
			proxy.Release()
			if a := b.settled(); a.Completed != orders {
				t.Fatalf("%+v", a)
			}
			r.stop()
			if statements := dbtest.One[int](b.DB, `select last_value from statements`); statements < 4 || n.total() != orders {
				t.Fatalf("%d statements for %d handler calls", statements, n.total())
			}
		})
	}
}
