package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/message"
)

// poolSize is less than consumers have connections.
const poolSize = 4

func (b *bundle) pooled() *pgbouncer.Pooler {
	b.t.Helper()
	return testdb.Pooler(b.t, b.URL, pgbouncer.Transaction, poolSize)
}

// nothingInherited wants that a client that comes to the pool afterwards finds nothing of ours.
func (b *bundle) nothingInherited(p *pgbouncer.Pooler) {
	b.t.Helper()
	if found := testdb.Inherited(b.t, p.URL, poolSize); len(found) > 0 {
		b.t.Errorf("another client of the pool finds %s", strings.Join(found, ", "))
	}
}

func TestConsumersWorkThroughAPoolerInTransactionMode(t *testing.T) {
	b := setup(t)
	p := b.pooled()
	var seen tries
	fail := handle(func(_ context.Context, m message.Message) error {
		if seen.note(m) == 1 && m.ID%5 == 0 || m.ID == 7 {
			return errFailed
		}
		return nil
	})
	one, two := settings(), settings()
	one.ID, two.ID = "one", "two"
	first := b.startOn(p.URL, one, fail)
	second := b.startOn(p.URL, two, fail)
	b.Publish(200)
	b.settled()
	if again := b.Order(7); again.Status != "dead" || again.Attempts != one.MaxAttempts {
		t.Errorf("%+v", again)
	}
	// Nothing is heard of notifications, so that it takes polling; which is said.
	await.True(t, "readiness says that it polls", func() bool {
		_, why := first.Ready()
		return strings.Contains(why, "instead of listening, because of a connection pooler in transaction mode")
	})
	if n := first.log.count("instead of listening"); n != 1 {
		t.Errorf("%d lines say so", n)
	}
	await.True(t, "both are idle", func() bool { return first.metric("listener_up") == 0 && second.metric("fetch_batch_size") >= 0 })
	b.Publish(1)
	b.settled()
	b.Exec(`select orderflow.pause($1, 'test', '')`, dbtest.QueueName)
	await.True(t, "a pause is noticed", func() bool { return first.metric("paused") == 1 && second.metric("paused") == 1 })
	b.Exec(`select orderflow.resume($1)`, dbtest.QueueName)
	b.Publish(1)
	b.settled()
	first.stop()
	second.stop()
	b.nothingInherited(p)
}

// Whatever becomes of the pooler or of the servers' connections behind it, each order is processed once.
func TestConsumersSurviveWhatHappensToAPooler(t *testing.T) {
	b := setup(t)
	p := b.pooled()
	r := b.startOn(p.URL, settings(), handle(func(context.Context, message.Message) error { return nil }))
	for name, happens := range map[string]func() error{
		"restart": func() error { return p.Restart(t.Context()) },
		"kill":    func() error { p.Kill(); return nil },
		"servers": func() error {
			b.Exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'orderflow-consumer%'`)
			return nil
		},
		"pause": func() error { return p.Pause() },
	} {
		b.Publish(300)
		if err := happens(); err != nil {
			t.Fatal(name, err)
		}
		b.Publish(300)
		switch name {
		case "kill":
			await.True(t, "it is noticed", func() bool { ready, _ := r.Ready(); return !ready })
			if err := p.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		case "pause":
			await.True(t, "it is noticed", func() bool { ready, _ := r.Ready(); return !ready })
			if err := p.Resume(); err != nil {
				t.Fatal(err)
			}
		}
		b.settled()
		await.True(t, name+" is over", func() bool { ready, _ := r.Ready(); return ready })
	}
	r.stop()
	b.nothingInherited(p)
}

// Work in the transaction of an ack finds the settings that it would find without us, and leaves none of ours to others.
func TestWorkIsDoneThroughAPoolerInTransactionMode(t *testing.T) {
	b := setup(t)
	b.Exec(`create table done (order_id bigint primary key, seqscan text, timeout text)`)
	b.Exec(`create schema app; create function app.process(orders public.orders[]) returns void language plpgsql as $$ begin
		insert into public.done select o.id, current_setting('enable_seqscan'), current_setting('statement_timeout') from unnest(orders) as o;
		perform set_config('enable_seqscan', 'off', false), set_config('statement_timeout', '1234567', false);
		if exists (select from unnest(orders) as o where o.id % 7 = 0) then raise exception 'never'; end if; end $$`)
	p := b.pooled()
	name, err := effect.ParseName("app.process")
	if err != nil {
		t.Fatal(err)
	}
	s := settings()
	s.AckWorkLanes, s.HandlerTimeout = 3, 20*time.Second
	r := b.startOn(p.URL, s, effect.NewFunction(name))
	b.Publish(100)
	if a := b.settled(); a.Completed != 86 || a.Dead != 14 {
		t.Errorf("%+v", a)
	}
	if n := dbtest.One[int](b.DB, `select count(*) from done where seqscan = 'on' and timeout = '20s'`); n != 86 {
		t.Errorf("%d of 86 found the settings that they should; %v", n, dbtest.All[string](b.DB, `select distinct seqscan || ' ' || timeout from done`))
	}
	r.stop()
	b.nothingInherited(p)
}

// What a pooler's mode is may change at any time.
func TestAPoolerThatChangesItsModeIsFollowed(t *testing.T) {
	b := setup(t)
	p := testdb.Pooler(t, b.URL, pgbouncer.Session, 20)
	r := b.startOn(p.URL, settings(), handle(func(context.Context, message.Message) error { return nil }))
	b.Publish(10)
	b.settled()
	await.True(t, "it listens", func() bool { return r.metric("listener_up") == 1 })
	for _, next := range []struct {
		mode    pgbouncer.Mode
		listens float64
	}{{pgbouncer.Transaction, 0}, {pgbouncer.Session, 1}} {
		if err := p.Change(next.mode, 20); err != nil {
			t.Fatal(err)
		}
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Publish(10)
		b.settled()
		await.True(t, "it is known", func() bool {
			_, why := r.Ready()
			return r.metric("listener_up") == next.listens && strings.Contains(why, "instead of listening") == (next.listens == 0)
		})
	}
}
