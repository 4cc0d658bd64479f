package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/worker"
)

// shop is a user's schema. Its table has no constraint that could hide a second effect.
const shop = `create schema shop; create table shop.shipments (order_id bigint, quantity integer)`

// ship and shipOne are the two forms of a user's function; each calls shop.rules, which tests replace.
const (
	rules = `create or replace function shop.rules(o public.orders) returns void language plpgsql as $$ begin %s end $$`
	ship  = `create or replace function shop.ship(orders public.orders[]) returns void language plpgsql as $$ begin
		insert into shop.shipments select o.id, o.quantity from unnest(orders) as o;
		perform shop.rules(o) from unnest(orders) as o;
	end $$`
	shipOne = `create or replace function shop.ship(o public.orders) returns void language plpgsql as $$ begin
		insert into shop.shipments values (o.id, o.quantity);
		perform shop.rules(o);
	end $$`
)

func (b *bundle) shop(form, does string) *effect.Function {
	b.t.Helper()
	b.Exec(shop)
	b.Exec(fmt.Sprintf(rules, does))
	b.Exec(form)
	return effect.NewFunction(pgx.Identifier{"shop", "ship"})
}

// shipped wants exactly one shipment for each completed order, and none for any other.
func (b *bundle) shipped() {
	b.t.Helper()
	wrong := dbtest.All[string](b.DB, `
		select format('order %s is %s and has %s shipments', o.id, o.status, count(s.order_id))
		  from public.orders as o left join shop.shipments as s on s.order_id = o.id
		 group by o.id, o.status
		having count(s.order_id) <> case when o.status = 'completed' then 1 else 0 end`)
	if len(wrong) > 0 {
		b.t.Errorf("%d orders have a wrong number of effects: %s", len(wrong), strings.Join(wrong, "; "))
	}
}

// attemptedOnce wants exactly one attempt of each order.
func (b *bundle) attemptedOnce() {
	b.t.Helper()
	if n := dbtest.One[int](b.DB, `select count(*) from public.orders where attempts <> 1`); n != 0 {
		b.t.Errorf("%d orders have had other than one attempt", n)
	}
}

func workSettings() worker.Settings {
	s := settings()
	s.AckWorkLanes = 3
	return s
}

func TestAFunctionsEffectIsCommittedWithTheAck(t *testing.T) {
	for name, form := range map[string]string{"all at once": ship, "one at a time": shipOne} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			f := b.shop(form, ``)
			b.Publish(300)
			r := b.start(workSettings(), f)
			if a := b.settled(); a.Completed != 300 {
				t.Fatalf("%+v", a)
			}
			r.stop()
			b.shipped()
			if n := dbtest.One[int](b.DB, `select count(*) from public.orders where attempts <> 1 or effects <> 1 or processed_by is null`); n != 0 {
				t.Errorf("%d orders are not marked as after any ack", n)
			}
		})
	}
}

// Wherever the connection is lost, and whether or not the commit had come through: each order has one effect, and one attempt.
func TestAConnectionLostAroundAnEffectNeitherLosesNorRepeatsIt(t *testing.T) {
	const left = `insert into shop.shipments` // what a handler in Go has left
	for _, statement := range []string{named("ack_open"), named("effect"), left, named("ack_commit")} {
		for fault, when := range map[pgproxy.Fault]string{pgproxy.Unsent: "before it is sent", pgproxy.Unanswered: "before it is answered"} {
			t.Run(statement+" "+when, func(t *testing.T) {
				b := setup(t)
				var h handler.Handler = b.shop(ship, ``)
				if statement == left {
					h = inserts{}
				}
				proxy, address := b.proxied()
				sprung := proxy.Trap(statement, fault)
				b.Publish(50)
				r := b.startOn(address, workSettings(), h)
				await.Value(t, "the connection is cut", sprung)
				if a := b.settled(); a.Completed != 50 {
					t.Fatalf("%+v", a)
				}
				r.stop()
				b.shipped()
				b.attemptedOnce()
				if got := r.metric("lease_lost_total"); got != 0 {
					t.Errorf("%v leases are said to be lost", got)
				}
			})
		}
	}
}

// What one order's work raises is that order's failure, and says what it means by its SQLSTATE. Its neighbours' effects stand.
func TestAnErrorOfOneOrdersWorkIsItsOwn(t *testing.T) {
	for name, form := range map[string]string{"all at once": ship, "one at a time": shipOne} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			f := b.shop(form, `
				if o.id = 10 then raise exception 'no such product: %', o.product_name; end if;
				if o.id = 20 then raise exception 'not shippable' using errcode = 'OF410'; end if;
				if o.id = 30 then raise exception 'not yet' using errcode = 'OF425', detail = '1 hour'; end if;
				if o.id = 40 then perform 1 / (o.quantity - o.quantity); end if;`)
			b.Publish(100)
			s := workSettings()
			s.MaxAttempts = 3
			r := b.start(s, f)
			await.True(t, "all but one have an end", func() bool {
				a := b.Audit()
				return a.Pending == 1 && a.Queued == 1 && b.Order(30).LastError != nil
			})
			for id, want := range map[int64]struct {
				status, problem string
				attempts        int
			}{
				10: {"dead", "no such product: Product 10 (SQLSTATE P0001)", 3},
				20: {"dead", "not shippable (SQLSTATE OF410)", 1},
				30: {"pending", "not yet (SQLSTATE OF425)", 1},
				40: {"dead", "division by zero (SQLSTATE 22012)", 3},
			} {
				o := b.Order(id)
				if o.Status != want.status || o.LastError == nil || *o.LastError != want.problem || o.Attempts != want.attempts {
					t.Errorf("order %d: %+v %v", id, o, *o.LastError)
				}
			}
			if a := b.Audit(); a.Completed != 96 || a.Letters != 3 {
				t.Errorf("%+v", a)
			}
			if late := dbtest.One[float64](b.DB, `select extract(epoch from vt - clock_timestamp())::float8 from pgmq.q_order_queue`); late < 3000 || late > 3600 {
				t.Errorf("the order that is to wait an hour waits %.0f s", late)
			}
			if reasons := dbtest.All[string](b.DB, `select headers->'orderflow-dead'->>'reason' from pgmq.q_order_queue_dlq order by 1`); strings.Join(reasons, " ") != "max_attempts max_attempts permanent" {
				t.Errorf("dead letters: %v", reasons)
			}
			r.stop()
			b.shipped()
		})
	}
}

// A function that is not there, or not for us to call, is nobody's failed attempt: orders wait, readiness says what to do, and when it
// is there again, in whatever form, all goes on.
func TestAFunctionThatCannotBeCalledKeepsOrdersBack(t *testing.T) {
	b := setup(t)
	f := b.shop(ship, ``)
	b.Publish(10)
	r := b.start(workSettings(), f)
	b.settled()
	b.Exec(`drop function shop.ship(public.orders[])`)
	b.Publish(10)
	await.True(t, "it is not ready, and says why", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "there is no function shop.ship") && strings.Contains(why, "create it")
	})
	b.Exec(shipOne)
	if a := b.settled(); a.Completed != 20 {
		t.Fatalf("%+v", a)
	}
	await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
	r.stop()
	b.shipped()
	if n := dbtest.One[int](b.DB, `select count(*) from public.orders where attempts <> 1 or last_error is not null`); n != 0 {
		t.Errorf("%d orders were said to have failed", n)
	}
}

// Before there is a function nothing is read.
func TestWithoutItsFunctionAConsumerWaits(t *testing.T) {
	b := setup(t)
	b.Publish(5)
	r := b.start(workSettings(), effect.NewFunction(pgx.Identifier{"shop", "ship"}))
	await.True(t, "it is not ready, and says why", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "there is no schema shop")
	})
	b.shop(ship, ``)
	b.settled()
	r.stop()
	b.shipped()
}

// Whatever a function does to its transaction, its session or our tables: an order that counts as completed has its effect once, an
// order that does not has none, and the next orders are none the worse for it.
func TestAFunctionCanUndoOrRepeatNothing(t *testing.T) {
	for name, test := range map[string]struct {
		does      string
		completed int // of ten, where it does that to order 5
		problem   string
	}{
		"marks its order as pending":    {`update public.orders set status = 'pending' where id = o.id;`, 9, "undone the ack"},
		"counts another effect":         {`update public.orders set effects = 7 where id = o.id;`, 9, "undone the ack"},
		"deletes its order":             {`delete from public.orders where id = o.id;`, 9, "undone the ack"},
		"deletes its message":           {`delete from pgmq.q_order_queue where message->>'order_id' = o.id::text;`, 10, ""},
		"puts its message back":         {`insert into pgmq.q_order_queue (msg_id, vt, message) overriding system value values (o.id, clock_timestamp(), '{}');`, 9, "undone the ack"},
		"commits":                       {`commit;`, 9, "invalid transaction termination"},
		"rolls back":                    {`rollback;`, 9, "invalid transaction termination"},
		"becomes another role":          {`set role shop_nobody;`, 10, ""},
		"becomes another role, locally": {`set local role shop_nobody;`, 10, ""},
		"wants no limit":                {`set statement_timeout = 1; set lock_timeout = 1;`, 10, ""},
		"wants another isolation":       {`set session characteristics as transaction isolation level serializable;`, 10, ""},
		"wants a read-only transaction": {`set local transaction_read_only = on;`, 10, ""},
		"reads only from now on":        {`set default_transaction_read_only = on;`, 10, ""},
		"looks elsewhere":               {`set search_path = shop, pg_catalog; create or replace function shop.clock_timestamp() returns timestamptz language sql as 'select null::timestamptz';`, 10, ""},
		"locks all orders":              {`lock table public.orders in access exclusive mode;`, 10, ""},
		"notifies":                      {`perform pg_notify('orderflow_order_queue', '');`, 10, ""},
		"puts a check off":              {`insert into shop.checked values (o.id);`, 9, "violates foreign key constraint"},
		"undoes the ack at the end":     {`insert into shop.late values (o.id);`, 9, "undone the ack"},
		"ends its connection":           {`perform pg_terminate_backend(pg_backend_pid());`, 9, "terminating connection"},
		"catches its own error":         {`begin perform 1/0; exception when division_by_zero then null; end;`, 10, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			role := strings.ReplaceAll(dbtest.One[string](b.DB, `select current_database()`), "consumer_test", "shop_nobody")
			b.Exec(`create role ` + role)
			t.Cleanup(func() {
				b.Exec(`drop owned by ` + role + `; drop role ` + role)
			})
			f := b.shop(shipOne, `if o.id = 5 then `+strings.ReplaceAll(test.does, "shop_nobody", role)+` end if;`)
			b.Exec(`grant usage on schema shop to ` + role + `; grant insert on shop.shipments to ` + role)
			b.Exec(`create table shop.checks (id bigint primary key);
				create table shop.checked (order_id bigint references shop.checks deferrable initially deferred);
				create table shop.late (order_id bigint);
				create function shop.undo() returns trigger language plpgsql as $$ begin
					update public.orders set status = 'pending' where id = new.order_id;
					return null;
				end $$;
				create constraint trigger undo after insert on shop.late deferrable initially deferred for each row execute function shop.undo()`)
			b.Publish(10)
			s := workSettings()
			s.MaxAttempts, s.AckWorkLanes = 2, 1
			r := b.start(s, f)
			await.True(t, "every order has an end", func() bool { a := b.Audit(); return a.Completed+a.Dead == 10 && a.Queued == 0 })
			if a := b.Audit(); a.Completed != test.completed || a.Duplicated != 0 {
				t.Errorf("%+v", a)
			}
			if o := b.Order(5); test.problem != "" && (o.LastError == nil || !strings.Contains(*o.LastError, test.problem)) {
				t.Errorf("order 5: %+v, %v", o, o.LastError)
			}
			b.Exec(fmt.Sprintf(rules, ``))
			b.Publish(10)
			await.True(t, "the next have an end", func() bool { return b.Audit().Completed == test.completed+10 })
			r.stop()
			b.shipped()
			if ok := dbtest.One[bool](b.DB, `select bool_and(processed_by = 'under-test') from public.orders where status = 'completed'`); !ok {
				t.Error("orders are not marked as ours")
			}
		})
	}
}

// The function's own time is limited: with others for the batch, which then is tried in smaller ones, and alone for the order.
func TestAFunctionThatTakesTooLongFailsItsOrder(t *testing.T) {
	b := setup(t)
	f := b.shop(ship, `if o.id = 7 then perform pg_sleep(600); end if;`)
	b.Publish(20)
	s := workSettings()
	s.MaxAttempts, s.HandlerTimeout = 2, 5*time.Second // the second attempt is for another order, which a busy machine holds up
	r := b.start(s, f)
	if a := b.settled(); a.Completed != 19 || a.Dead != 1 {
		t.Fatalf("%+v", a)
	}
	if o := b.Order(7); o.Status != "dead" || o.LastError == nil || !strings.Contains(*o.LastError, "HANDLER_TIMEOUT") {
		t.Errorf("%+v", o)
	}
	if outcomes := dbtest.All[string](b.DB, `select outcome from orderflow.history where order_id = 7`); !slices.Equal(outcomes, []string{"timed_out", "timed_out"}) {
		t.Errorf("its history says %v", outcomes)
	}
	r.stop()
	b.shipped()
}

// A function that is at work for long keeps nobody else waiting: other lanes go on, and so do failures.
func TestSlowWorkKeepsNoOtherOrderWaiting(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `
		if o.id = 1 then perform pg_advisory_xact_lock(4711); end if;
		if o.id = 2 then raise exception 'no'; end if;`)
	hold, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	if _, err := hold.Exec(t.Context(), `select pg_advisory_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.Publish(1)
	s := workSettings()
	s.MaxAttempts = 2
	r := b.start(s, f)
	await.True(t, "the slow one is at work", func() bool { return b.waiting(4711) })
	b.Publish(39)
	await.True(t, "all others have an end", func() bool { a := b.Audit(); return a.Completed == 38 && a.Dead == 1 })
	if _, err := hold.Exec(t.Context(), `select pg_advisory_unlock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.settled()
	r.stop()
	b.shipped()
}

// A lane takes no more orders than it can begin with at once: behind an order whose work waits, those that another lane can have would wait as well.
func TestALaneLeavesToTheOthersWhatItCannotBeginWith(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `if o.id <= 4 then perform pg_advisory_xact_lock(o.id), pg_sleep(0.3); end if;`) // so long that a lane takes one at a time
	hold, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	let := func(change string, orders ...int64) {
		t.Helper()
		for _, id := range orders {
			if _, err := hold.Exec(t.Context(), `select pg_advisory_`+change+`($1)`, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	let("lock", 1, 2, 3, 4)
	s := workSettings()
	s.Concurrency, s.Visible, s.HandlerTimeout = 20, 20*time.Minute, 10*time.Minute
	r := b.start(s, f)
	for lanes := 1; lanes <= s.AckWorkLanes; lanes++ {
		b.Publish(1)
		await.True(t, "its work waits, in a lane of its own", func() bool { return b.waiting(int64(lanes)) })
	}
	b.Publish(1) // the next in line, whose work will wait as well
	await.True(t, "it is in line", func() bool { return r.metric("messages_in_flight") == 4 })
	b.Publish(6)
	await.True(t, "so are those behind it", func() bool { return r.metric("messages_in_flight") == 10 })
	let("unlock", 1)
	await.True(t, "the first lane is at the next in line", func() bool { return b.waiting(4) })
	let("unlock", 2, 3)
	await.True(t, "the other lanes have had those behind it", func() bool { return b.Audit().Completed == 9 })
	let("unlock", 4)
	b.settled()
	r.stop()
	b.shipped()
}

// waiting says whether somebody waits for the advisory lock with that number.
func (b *bundle) waiting(lock int64) bool {
	b.t.Helper()
	return dbtest.One[bool](b.DB, `select exists (
		select from pg_locks as l join pg_database as d on d.oid = l.database and d.datname = current_database()
		 where l.locktype = 'advisory' and l.objid = $1 and not l.granted)`, lock)
}

// A drain gives work its time. What is not over then is rolled back, and is no attempt.
func TestADrainRollsBackWhatIsNotOver(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `perform pg_advisory_xact_lock_shared(4711);`)
	hold, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	if _, err := hold.Exec(t.Context(), `select pg_advisory_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.Publish(20)
	s := workSettings()
	s.Drain = 100 * time.Millisecond
	r := b.start(s, f)
	await.True(t, "some are at work", func() bool { return b.waiting(4711) })
	r.stop()
	if n := dbtest.One[int](b.DB, `select count(*) from shop.shipments`); n != 0 {
		t.Errorf("%d effects were committed", n)
	}
	if n := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt <= clock_timestamp()`); n != 20 {
		t.Errorf("only %d of 20 can be read again at once", n)
	}
	if _, err := hold.Exec(t.Context(), `select pg_advisory_unlock(4711)`); err != nil {
		t.Fatal(err)
	}
	again := b.start(workSettings(), f)
	b.settled()
	again.stop()
	b.shipped()
	b.attemptedOnce() // what we broke off is none
}

// Leases hold while work goes on, for what waits behind it as well, and two consumers never do the same order's work.
func TestLeasesHoldWhileWorkGoesOn(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `perform pg_sleep(3);`)
	b.Publish(12)
	s := workSettings()
	s.Visible, s.HandlerTimeout, s.AckWorkLanes = 12*time.Second, 10*time.Second, 2
	one := b.start(s, f)
	s.ID = "another"
	two := b.start(s, effect.NewFunction(pgx.Identifier{"shop", "ship"}))
	b.settled()
	one.stop()
	two.stop()
	b.shipped()
	b.attemptedOnce()
}

// A second message of an order that is completed is acknowledged, and does the order's work no second time.
func TestWorkIsDoneOnceAnOrder(t *testing.T) {
	b := setup(t)
	f := b.shop(ship, ``)
	b.Publish(3)
	b.Exec(`select pgmq.send('order_queue', message, headers) from pgmq.q_order_queue`)
	r := b.start(workSettings(), f)
	await.True(t, "the queue is empty", func() bool { return b.Audit().Queued == 0 })
	r.stop()
	b.shipped()
}

// An order is in flight until its work is done, although its handler has nothing to do.
func TestWorkInTheTransactionOfTheAckIsInFlight(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `perform pg_advisory_xact_lock_shared(4711);`)
	hold, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	if _, err := hold.Exec(t.Context(), `select pg_advisory_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.Publish(5)
	r := b.start(workSettings(), f)
	await.True(t, "they are in flight", func() bool { return r.metric("messages_in_flight") == 5 })
	if _, err := hold.Exec(t.Context(), `select pg_advisory_unlock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.settled()
	await.True(t, "nothing is in flight", func() bool { return r.metric("messages_in_flight") == 0 })
	r.stop()
	b.shipped()
}

// Two transactions that are in each other's way are nobody's failed attempt.
func TestADeadlockIsNoAttempt(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `
		update shop.stock set n = n - 1 where product = (o.id + pg_backend_pid()) % 2;
		update shop.stock set n = n - 1 where product = (o.id + pg_backend_pid() + 1) % 2;`)
	b.Exec(`create table shop.stock (product integer primary key, n integer); insert into shop.stock values (0, 1000), (1, 1000)`)
	b.Publish(100)
	s := workSettings()
	s.MaxAttempts = 1
	r := b.start(s, f)
	if a := b.settled(); a.Completed != 100 {
		t.Fatalf("%+v", a)
	}
	r.stop()
	b.shipped()
	if n := dbtest.One[int](b.DB, `select sum(n)::integer from shop.stock`); n != 1800 {
		t.Errorf("stock is %d", n)
	}
}

// inserts is a handler in Go that leaves one row to the transaction of the ack.
type inserts struct{}

func (inserts) Handle(context.Context, message.Message) error { return nil }

func (inserts) Runner() effect.Runner { return effect.Statements{} }

func (inserts) HandleForAck(_ context.Context, m message.Message) (any, error) {
	var work pgx.Batch
	work.Queue(`insert into shop.shipments values ($1, 1)`, m.OrderID)
	return &work, nil
}
