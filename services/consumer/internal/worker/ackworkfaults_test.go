package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// What only fails when the transaction ends, because a constraint trigger was put off until then, is the failure of its order as well:
// nothing is tried for ever.
func TestWorkThatFailsAtTheCommitFailsItsOrder(t *testing.T) {
	for name, does := range map[string]string{
		"takes too long":       `perform pg_sleep(600);`,
		"ends its connection":  `perform pg_terminate_backend(pg_backend_pid());`,
		"cancels itself":       `perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(600);`,
		"raises a conflict":    `raise exception 'again' using errcode = '40001';`,
		"raises an exception":  `raise exception 'no';`,
		"drops what we depend": `deallocate all;`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			f := b.shop(shipOne, `if o.id = 5 then insert into shop.late values (o.id); end if;`)
			b.Exec(`create table shop.late (order_id bigint);
				create function shop.late() returns trigger language plpgsql as $$ begin ` + does + ` return null; end $$;
				create constraint trigger late after insert on shop.late deferrable initially deferred for each row execute function shop.late()`)
			b.Publish(10)
			s := workSettings()
			s.MaxAttempts, s.AckWorkLanes, s.HandlerTimeout = 1, 1, time.Minute
			if name == "takes too long" {
				s.MaxAttempts, s.HandlerTimeout = 2, 5*time.Second // the second attempt is for another order, which a busy machine holds up
			}
			r := b.start(s, f)
			if a := b.settled(); a.Completed != 9 || a.Dead != 1 || b.Order(5).Status != "dead" {
				t.Errorf("%+v", a)
			}
			r.stop()
			b.shipped()
		})
	}
}

// Orders whose work runs into something each time, more of them than a consumer holds, keep no others waiting, and have an end.
func TestOrdersThatAlwaysRunIntoSomethingStarveNobody(t *testing.T) {
	for name, does := range map[string]string{
		"a conflict":   `raise exception 'again' using errcode = '40001';`,
		"a lock":       `perform from shop.locked for update nowait;`,
		"a cancel":     `perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(600);`,
		"a connection": `perform pg_terminate_backend(pg_backend_pid());`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			f := b.shop(shipOne, fmt.Sprintf(`if o.id <= 11 then %s end if;`, does))
			b.Exec(`create table shop.locked as select 1 as id`)
			hold, err := b.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = hold.Rollback(t.Context()) }()
			if _, err := hold.Exec(t.Context(), `select from shop.locked for update`); err != nil {
				t.Fatal(err)
			}
			b.Publish(25)
			s := workSettings()
			s.MaxAttempts, s.Batch, s.Concurrency = 1, 2, 2 // it holds ten at most
			r := b.start(s, f)
			await.True(t, "every order has an end", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
			if a := b.Audit(); a.Completed != 14 || a.Dead != 11 {
				t.Errorf("%+v", a)
			}
			r.stop()
			b.shipped()
		})
	}
}

// A function that is made anew while consumers run is not its orders' failure, whatever it returns now.
func TestAFunctionMayBeReplacedWhileConsumersRun(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, ``)
	s := workSettings()
	s.MaxAttempts = 1
	r := b.start(s, f)
	for i, returns := range []string{"integer", "setof text", "void", "table (a integer, b text)", "record"} {
		b.Publish(1)
		await.True(t, "the order has an end", func() bool { return b.Audit().Completed == 2*i+1 })
		b.Exec(`begin; drop function shop.ship(public.orders); ` + strings.Replace(shipOne, "returns void", "returns "+returns, 1) + `; commit`)
		if strings.Contains(returns, "(") || returns == "record" {
			b.Exec(`create or replace function shop.ship(o public.orders) returns ` + returns + ` language sql as $$
				insert into shop.shipments values (o.id, o.quantity); select 1, 'a'::text $$`)
		}
		if returns == "integer" {
			b.Exec(`create or replace function shop.ship(o public.orders) returns ` + returns + ` language sql as $$
				insert into shop.shipments values (o.id, o.quantity); select null::integer $$`)
		}
		b.Publish(1)
		await.True(t, "the next one has", func() bool { a := b.Audit(); return a.Completed == 2*i+2 || a.Dead > 0 })
		if a := b.Audit(); a.Dead > 0 {
			t.Fatalf("after %q: %v", returns, dbtest.All[string](b.DB, `select last_error from public.orders where status = 'dead'`))
		}
	}
	r.stop()
	b.shipped()
}

// A silent connection is not the failure of the order whose work is in the middle of it.
func TestAConnectionThatGoesSilentInTheMiddleOfWorkIsNoAttempt(t *testing.T) {
	for _, statement := range []string{named("effect"), named("ack_commit")} {
		t.Run(statement, func(t *testing.T) {
			b := setup(t)
			f := b.shop(shipOne, ``)
			proxy, address := b.proxied()
			held := proxy.Trap(statement, pgproxy.Held)
			b.Publish(1)
			s := workSettings()
			s.MaxAttempts, s.HandlerTimeout = 1, 5*time.Second
			r := b.startOn(address, s, f)
			await.Value(t, "the answer is held back", held)
			if a := b.settled(); a.Completed != 1 {
				t.Errorf("%+v, %v", a, b.Order(1).LastError)
			}
			r.stop()
			b.shipped()
		})
	}
}

// What a function sets for its session ends with its transaction, also for our own statements between transactions: the extension of leases
// that are shorter than the work may take, for one.
func TestWhatAFunctionSetsForItsSessionEndsWithItsTransaction(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `set search_path = shop, pg_catalog; set statement_timeout = 1; set lock_timeout = 1; set enable_nestloop = off;`)
	b.Exec(`create function shop.clock_timestamp() returns timestamptz language sql as 'select ''2000-01-01''::timestamptz'`)
	s := workSettings()
	s.MaxAttempts, s.AckWorkLanes, s.Visible, s.HandlerTimeout = 1, 1, 12*time.Second, 11900*time.Millisecond // every lease is extended before the work
	r := b.start(s, f)
	for i := range 5 {
		b.Publish(20)
		await.True(t, "they are completed", func() bool { return b.Audit().Completed == 20*(i+1) })
		if extended := r.metric("leases_extended_total"); extended < float64(20*i) {
			t.Fatalf("only %v leases were extended", extended)
		}
	}
	r.stop()
	b.shipped()
	b.attemptedOnce()
	if lost := r.metric("lease_lost_total"); lost != 0 {
		t.Errorf("%v leases were lost", lost)
	}
}

// A result whose write was suppressed may have another end when it can be written: it is no longer one that cannot.
func TestWhatWasSuppressedAndFailsThenIsNotUnwritten(t *testing.T) {
	b := setup(t)
	f := b.shop(shipOne, `if nextval('shop.tries') = 1 then raise exception 'not yet'; end if;`)
	b.Exec(`create sequence shop.tries;
		create function swallow() returns trigger language plpgsql as $$ begin return null; end $$;
		create trigger swallow before update on public.orders for each row execute function swallow()`)
	b.Publish(1)
	r := b.start(workSettings(), f)
	await.True(t, "it is not ready, and says why", func() bool {
		ok, why := r.Ready()
		return !ok && strings.Contains(why, "cannot be written")
	})
	b.Exec(`drop trigger swallow on public.orders`)
	if a := b.settled(); a.Completed != 1 {
		t.Errorf("%+v", a)
	}
	await.True(t, "it is ready again", func() bool { ok, _ := r.Ready(); return ok })
	r.stop()
	b.shipped()
}

// leaving is a handler in Go that leaves work.
type leaving func(m message.Message) (work *pgx.Batch, err error)

func (leaving) Handle(context.Context, message.Message) error { panic("it leaves work") }

func (leaving) Runner() effect.Runner { return effect.Statements{} }

func (l leaving) HandleForAck(_ context.Context, m message.Message) (any, error) {
	work, err := l(m)
	if err != nil {
		return nil, err
	}
	return work, nil
}

// The order of a probe goes away before its ack: nothing is known of what the handlers call, and another order finds out.
func TestAProbeWhoseOrderGoesAwayIsRepeated(t *testing.T) {
	b := setup(t)
	const (
		down = iota
		losing
		up
	)
	var state atomic.Int32
	s := breaking("leaving")
	s.AckWorkLanes = 1
	r := b.start(s, leaving(func(m message.Message) (*pgx.Batch, error) {
		if state.Load() == down {
			return nil, handler.Unavailable(errFailed)
		}
		if state.CompareAndSwap(losing, up) {
			b.Exec(`delete from public.orders where id = $1`, m.OrderID)
		}
		work := &pgx.Batch{}
		work.Queue(`select 1`)
		return work, nil
	}))
	b.Publish(100)
	await.True(t, "it is probed", func() bool { return r.probes("failed") > 0 })
	state.Store(losing)
	await.True(t, "the breaker is closed", func() bool { return r.metric("breaker_open") == 0 })
	await.True(t, "all other orders are completed", func() bool { a := b.Audit(); return a.Completed == 99 && a.Letters == 1 })
	r.stop()
}

// A handler that comes back after the drain's deadline, and leaves work, leaves nothing behind: its message is visible at once.
func TestWorkThatIsLeftAfterTheDrainsDeadlineIsReleased(t *testing.T) {
	b := setup(t)
	b.Exec(shop)
	s := workSettings()
	s.Drain = 100 * time.Millisecond
	begun, late := make(chan struct{}), make(chan struct{})
	r := b.start(s, leaving(func(m message.Message) (*pgx.Batch, error) {
		close(begun)
		<-late
		work := &pgx.Batch{}
		work.Queue(`insert into shop.shipments values ($1, 1)`, m.OrderID)
		return work, nil
	}))
	b.Publish(1)
	<-begun
	r.drain()
	await.True(t, "the drain's deadline is over", func() bool { return r.log.count("DRAIN_TIMEOUT is over") > 0 })
	close(late)
	r.stop()
	if n := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt <= clock_timestamp()`); n != 1 {
		t.Errorf("%d messages are visible", n)
	}
	b.shipped()
}

// A handler that takes long and leaves work occupies its worker for as long as any other: the consumer holds no messages that it will not get to.
func TestWhoLeavesWorkAndTakesLongHoldsNothingAhead(t *testing.T) {
	b := setup(t)
	b.Exec(shop)
	s := workSettings()
	s.Concurrency, s.Batch, s.AckWorkLanes = 2, 0, 1
	r := b.start(s, leaving(func(m message.Message) (*pgx.Batch, error) {
		<-time.After(1200 * time.Millisecond)
		work := &pgx.Batch{}
		work.Queue(`insert into shop.shipments values ($1, 1)`, m.OrderID)
		return work, nil
	}))
	b.Publish(6)
	b.settled()
	b.Publish(1) // the fetcher takes up what it has learned
	b.settled()
	if ahead := r.metric("prefetch_limit"); ahead != 0 {
		t.Errorf("it would hold %v messages ahead, which take 1.2 s each", ahead)
	}
	r.stop()
	b.shipped()
}
