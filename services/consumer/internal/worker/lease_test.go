package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// steal gives a message's lease to somebody who is not there, as a read after its visibility timeout would.
func (b *bundle) steal(id int64) {
	b.t.Helper()
	b.Exec(`update pgmq.q_order_queue set read_ct = read_ct + 1, vt = clock_timestamp() + interval '1 hour' where msg_id = $1`, id)
}

func TestAStaleWorkerChangesNothingAndSaysSo(t *testing.T) {
	for name, result := range map[string]error{
		"ack": nil, "nack": errFailed, "bury": handler.Permanent(errFailed),
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(2)
			started, go_on := make(chan struct{}), make(chan struct{})
			r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
				if m.ID == 2 {
					return nil
				}
				close(started)
				<-go_on
				return result
			}))
			await.Value(t, "the handler starts", started)
			b.steal(1)
			close(go_on)
			await.True(t, "the loss is noticed, and the other one done", func() bool {
				return r.metric("lease_lost_total") == 1 && r.log.count("lease lost") > 0 && b.Audit().Completed == 1
			})
			if o := b.Order(1); o.Status != "pending" || o.Effects != 0 || o.Attempts != 0 || o.LastError != nil {
				t.Fatalf("%+v", o)
			}
			hidden := dbtest.One[bool](b.DB, `select vt > clock_timestamp() + interval '50 minutes' from pgmq.q_order_queue where msg_id = 1`)
			if a := b.Audit(); !hidden || a.Queued != 1 || a.Letters != 0 || a.Completed != 1 {
				t.Fatalf("hidden %t, %+v", hidden, a)
			}
			if r.log.count("lease lost") != 1 {
				t.Fatal("the log does not say so once")
			}
		})
	}
}

func TestTheHeartbeatKeepsLeasesOfRunningAndBufferedMessages(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Concurrency, s.Prefetch, s.Poll = 12*time.Second, time.Minute, 1, 5, 50*time.Millisecond
	started, go_on := make(chan struct{}, 10), make(chan struct{})
	var n tries
	work := handle(func(_ context.Context, m message.Message) error {
		n.note(m)
		started <- struct{}{}
		<-go_on
		return nil
	})
	r := b.start(s, work)
	b.Publish(3)
	await.Value(t, "the first is worked on", started)
	await.True(t, "the others wait", func() bool { return r.metric("leases_held") == 3 })
	s.ID = "somebody else"
	b.start(s, work) // who polls 20 times a second for what expires
	await.True(t, "leases have been extended for longer than they would have lasted", func() bool {
		return r.metric("leases_extended_total") >= 9
	})
	if got := dbtest.One[int](b.DB, `select max(read_ct) from pgmq.q_order_queue`); got != 1 {
		t.Fatalf("read %d times", got)
	}
	close(go_on)
	if a := b.settled(); a.Completed != 3 || n.total() != 3 {
		t.Fatalf("%+v after %d tries", a, n.total())
	}
}

func TestALostLeaseCancelsItsHandler(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Concurrency, s.Prefetch = 20*time.Second, time.Minute, 1, 5
	started, cause := make(chan struct{}), make(chan error, 3)
	r := b.start(s, handle(func(ctx context.Context, m message.Message) error {
		if m.ID == 1 {
			close(started)
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		}
		return nil
	}))
	b.Publish(3)
	await.Value(t, "the first is worked on", started)
	await.True(t, "the others wait", func() bool { return r.metric("leases_held") == 3 })
	b.steal(1)
	b.steal(2)
	if got := await.Value(t, "the handler is cancelled", cause); !errors.Is(got, handler.ErrLeaseLost) {
		t.Fatalf("cause: %v", got)
	}
	await.True(t, "the third is done", func() bool { return b.Order(3).Status == "completed" })
	await.True(t, "nothing is held", func() bool { return r.metric("leases_held") == 0 })
	if o1, o2 := b.Order(1), b.Order(2); o1.Effects+o2.Effects != 0 || o1.Attempts+o2.Attempts != 0 {
		t.Fatalf("%+v %+v", o1, o2)
	}
	if got := r.metric("messages_failed_total"); got != 0 {
		t.Fatalf("%v failures, but a lost lease is none", got)
	}
}

func TestARetryIsNotHiddenByAHeartbeatThatCameTooLate(t *testing.T) {
	// The heartbeat runs every 50 ms on leases of 1 s, the handler fails at once: were a message extended after its nack, its
	// retry would come a second late.
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout, s.MaxAttempts = time.Second, 800*time.Millisecond, 1000
	b.Publish(30)
	begin := time.Now()
	b.start(s, handle(func(_ context.Context, m message.Message) error {
		if m.Attempt < 40 {
			return errFailed
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 30 {
		t.Fatalf("%+v", a)
	}
	t.Logf("1,200 attempts took %s", time.Since(begin))
}

// What the database says to one order alone may look as if it said it to all, or as if it had no time for anybody. It is found out, and keeps no
// other waiting for longer than that takes.
func TestOneOrderThatCannotBeWrittenHoldsNoOthersUp(t *testing.T) {
	for name, does := range map[string]string{
		"a SQLSTATE of somebody's own": `raise exception 'not this one' using errcode = 'SH001'`,
		"a right that is missing":      `raise exception 'not this one' using errcode = 'insufficient_privilege'`,
		"a server that is away":        `raise exception 'not this one' using errcode = 'connection_failure'`, // where a function asks it
		"a session that ends":          `perform pg_terminate_backend(pg_backend_pid())`,
		"a statement that is cut off":  `perform pg_sleep(600)`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create function refuse() returns trigger language plpgsql as $$ begin if new.id = 3 then ` + does + `; end if; return new; end $$`)
			b.Exec(`create trigger refuse before update on public.orders for each row execute function refuse()`)
			b.Exec(`do $$ begin execute format('alter database %I set statement_timeout = 600', current_database()); end $$`)
			s := settings()
			s.Concurrency = 30
			b.Publish(30)
			r := b.start(s, noop)
			await.True(t, "the others are completed", func() bool { return b.Audit().Completed == 29 })
			b.Publish(30)
			await.True(t, "so are those that come later", func() bool { return b.Audit().Completed == 59 })
			b.Exec(`drop trigger refuse on public.orders`)
			if a := b.settled(); a.Completed != 60 {
				t.Errorf("%+v", a)
			}
			r.stop()
		})
	}
}

func TestOneMessageDoesNotSpoilItsBatch(t *testing.T) {
	const refuse = `
		create function refuse() returns trigger language plpgsql as $$
		begin
		  if new.id = 13 and %s then raise exception 'not order 13'; end if;
		  return new;
		end $$;
		create trigger refuse before update on public.orders for each row execute function refuse()`
	for name, test := range map[string]struct {
		when   string
		result error
		check  func(b *bundle, r *running)
	}{
		"an order that cannot be completed becomes a dead letter": {
			when: `new.status = 'completed'`,
			check: func(b *bundle, _ *running) {
				if a := b.settled(); a.Completed != 29 || a.Dead != 1 {
					b.t.Fatalf("%+v", a)
				}
				if o := b.Order(13); o.Attempts != 3 || o.Effects != 0 {
					b.t.Fatalf("%+v", o)
				}
			},
		},
		"an order that cannot be written at all is kept in the queue": {
			when: `true`,
			check: func(b *bundle, _ *running) {
				await.True(b.t, "the others are completed", func() bool { return b.Audit().Completed == 29 })
				await.True(b.t, "it has used up its attempts and goes on", func() bool {
					return dbtest.One[int](b.DB, `select read_ct from pgmq.q_order_queue`) > 4
				})
				b.Exec(`drop trigger refuse on public.orders`)
				if a := b.settled(); a.Completed != 29 || a.Dead != 1 {
					b.t.Fatalf("%+v", a)
				}
			},
		},
		"a failure that the order cannot be told is retried all the same": {
			when: `new.status = 'pending'`, result: errFailed,
			check: func(b *bundle, _ *running) {
				if a := b.settled(); a.Completed != 30 {
					b.t.Fatalf("%+v", a)
				}
				if o := b.Order(13); o.Attempts != 2 {
					b.t.Fatalf("%+v", o)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(sprintf(refuse, test.when))
			b.Publish(30)
			r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
				if m.Attempt == 1 {
					return test.result
				}
				return nil
			}))
			test.check(b, r)
		})
	}
}

func TestALockedOrderKeepsNobodyElseWaiting(t *testing.T) {
	for name, result := range map[string]error{"ack": nil, "nack": errFailed, "bury": handler.Permanent(errFailed)} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(30)
			other, err := b.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Rollback(context.WithoutCancel(t.Context()))
			if _, err := other.Exec(t.Context(), `select from public.orders where id = 7 for update`); err != nil {
				t.Fatal(err)
			}
			r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
				if m.Attempt == 1 {
					return result
				}
				return nil
			}))
			await.True(t, "the others are settled", func() bool { a := b.Audit(); return a.Completed+a.Dead == 29 })
			for i := range 20 {
				b.Publish(1)
				await.True(t, "the next one is settled", func() bool { a := b.Audit(); return a.Completed+a.Dead == 30+i })
			}
			tried := r.metric("statement_seconds")
			await.True(t, "the locked one is tried again and again", func() bool { return r.metric("statement_seconds") >= tried+2 })
			// The first ack of its batch ran into the lock; after that it is passed over.
			if got := r.metric("lock_conflicts_total"); got > 1 {
				t.Errorf("%v statements waited for the lock", got)
			}
			if err := other.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a := b.settled(); a.Completed+a.Dead != 50 {
				t.Fatalf("%+v", a)
			}
		})
	}
}

// A row that a trigger writes is not passed over like an order's own. The orders that write it are found out, however many they are, and no others wait
// until the row is free.
func TestOrdersThatWriteALockedRowKeepNobodyElseWaiting(t *testing.T) {
	for name, result := range map[string]error{"ack": nil, "nack": errFailed, "bury": handler.Permanent(errFailed)} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Exec(`create table customers as select 1 as id, 0 as orders`)
			b.Exec(`create function counted() returns trigger language plpgsql as $$
				begin if new.id % 3 = 0 and new.id < 20 then update customers set orders = orders + 1; end if; return new; end $$`)
			b.Exec(`create trigger counted before update on public.orders for each row execute function counted()`)
			other, err := b.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Rollback(context.WithoutCancel(t.Context()))
			if _, err := other.Exec(t.Context(), `select from customers for update`); err != nil {
				t.Fatal(err)
			}
			s := settings()
			s.Concurrency = 20
			b.Publish(20)
			b.start(s, handle(func(_ context.Context, m message.Message) error {
				if m.Attempt == 1 {
					return result
				}
				return nil
			}))
			await.True(t, "the others are settled", func() bool { a := b.Audit(); return a.Completed+a.Dead == 14 })
			b.Publish(20)
			await.True(t, "so are those that come later", func() bool { a := b.Audit(); return a.Completed+a.Dead == 34 })
			if err := other.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a := b.settled(); a.Completed+a.Dead != 40 {
				t.Fatalf("%+v", a)
			}
		})
	}
}

// What has been done is not to be done again because somebody is in the way of its ack.
func TestALeaseIsExtendedWhileItsAckCannotBeWritten(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout = time.Second, 800*time.Millisecond
	b.Publish(1)
	other, err := b.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(t.Context()))
	if _, err := other.Exec(t.Context(), `select from public.orders where id = 1 for update`); err != nil {
		t.Fatal(err)
	}
	r := b.start(s, noop)
	await.True(t, "the order has been worked on", func() bool { return r.metric("handler_seconds") == 1 })
	before := r.metric("leases_extended_total")
	await.True(t, "its lease is extended for longer than it would have lasted", func() bool {
		return r.metric("leases_extended_total") >= before+4
	})
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
}

// A lease that ran out while the database was away is nobody's failure: the message is handed back, its attempt not counted.
func TestALeaseThatRanOutIsNoFailure(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	s := settings()
	s.Visible, s.Drain = time.Second, 0
	started, cause := make(chan struct{}, 10), make(chan error, 10)
	b.Publish(1)
	r := b.startOn(address, s, handle(func(ctx context.Context, _ message.Message) error {
		started <- struct{}{}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return ctx.Err()
	}))
	await.Value(t, "the handler starts", started)
	proxy.Refuse()
	if got := await.Value(t, "the handler is cancelled", cause); !errors.Is(got, handler.ErrLeaseExpired) {
		t.Fatalf("cause: %v", got)
	}
	tried := r.statements("release")
	await.True(t, "it cannot be handed back", func() bool { return r.statements("release") >= tried+2 }) // by the second try it is overdue
	proxy.Accept()
	await.Value(t, "it is tried again", started)
	r.stop()
	if failed := r.metric("messages_failed_total"); failed != 0 {
		t.Errorf("%v failures", failed)
	}
	if o := b.Order(1); o.Attempts != 0 || o.LastError != nil {
		t.Errorf("%+v", o)
	}
	if counted := dbtest.One[bool](b.DB, `select headers ?| '{orderflow-failed, orderflow-started}' or headers->'orderflow-unanswered' <> '0'
		from pgmq.q_order_queue`); counted {
		t.Error("it is counted")
	}
}
