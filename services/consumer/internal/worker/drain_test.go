package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestADrainHandsBackWhatHasNotBeenStartedAndFinishesTheRest(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Concurrency, s.Prefetch, s.Drain = 2, 10, time.Hour
	started, go_on := make(chan struct{}, 10), make(chan struct{})
	r := b.start(s, handle(func(context.Context, message.Message) error {
		started <- struct{}{}
		<-go_on
		return nil
	}))
	b.Publish(12)
	await.Value(t, "one starts", started)
	await.Value(t, "another starts", started)
	await.True(t, "the others wait", func() bool { return r.metric("leases_held") == 12 })

	// Somebody else is there, asleep, and knows of nothing that is due soon: what is handed back must wake it.
	s = settings()
	s.ID = "somebody else"
	other := b.start(s, noop)
	await.True(t, "the other one has looked and found nothing", func() bool {
		return other.metric("listener_up") == 1 && other.metric("fetch_batch_size") > 0
	})
	r.drain()
	await.True(t, "the others are done elsewhere while ours still run", func() bool { return b.Audit().Completed == 10 })
	if ok, why := r.Ready(); ok || why != "draining" {
		t.Errorf("ready %t: %s", ok, why)
	}
	close(go_on)
	r.stop()
	if a := b.settled(); a.Completed != 12 {
		t.Fatalf("%+v", a)
	}
	if got := dbtest.One[int](b.DB, `select sum(attempts) from public.orders`); got != 12 {
		t.Fatalf("%d attempts were counted for 12 orders", got)
	}
	ours := dbtest.One[int](b.DB, `select count(*) from public.orders where processed_by = 'under-test'`)
	if ours != 2 || r.metric("messages_released_total") != 10 {
		t.Fatalf("ours %d, released %v", ours, r.metric("messages_released_total"))
	}
}

// What waits to be worked on alone has not been started either: it is handed back at once, and not when those are through that it waits for.
func TestADrainHandsBackWhatWaitsToBeAlone(t *testing.T) {
	b := setup(t)
	started, goOn := make(chan struct{}), make(chan struct{})
	s := settings()
	s.Drain = time.Hour
	suspect := b.Publish(2)[1]
	b.Exec(`update pgmq.q_order_queue set vt = vt + interval '1 hour', read_ct = 9, headers = headers || '{"orderflow-unanswered": 5}' where msg_id = $1`, suspect)
	r := b.start(s, handle(func(context.Context, message.Message) error { started <- struct{}{}; <-goOn; return nil }))
	await.Value(t, "one is at work", started)
	b.Exec(`update pgmq.q_order_queue set vt = clock_timestamp() where msg_id = $1`, suspect)
	b.Notify()
	await.True(t, "a suspect waits", func() bool { return r.metric("leases_held") == 2 && r.metric("messages_unanswered_total") == 1 })
	r.drain()
	await.True(t, "it is handed back while the other one is at work", func() bool {
		return dbtest.One[bool](b.DB, `select vt <= clock_timestamp() from pgmq.q_order_queue where msg_id = $1`, suspect)
	})
	close(goOn)
	r.stop()
}

// What still runs keeps its lease for as long as it takes: nobody else works on it meanwhile.
func TestADrainKeepsTheLeasesOfWhatRuns(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Visible, s.HandlerTimeout, s.Drain, s.Poll = 12*time.Second, time.Minute, time.Hour, 50*time.Millisecond
	started, goOn := make(chan struct{}, 10), make(chan struct{})
	finish := sync.OnceFunc(func() { close(goOn) })
	defer finish()
	var n tries
	work := handle(func(_ context.Context, m message.Message) error {
		n.note(m)
		started <- struct{}{}
		<-goOn
		return nil
	})
	b.Publish(1)
	r := b.start(s, work)
	s.ID = "somebody else"
	await.Value(t, "it is worked on", started)
	b.start(s, work) // who polls 20 times a second for what expires
	r.drain()
	before := r.metric("leases_extended_total")
	read := func() int { return dbtest.One[int](b.DB, `select max(read_ct) from pgmq.q_order_queue`) }
	await.True(t, "its lease has been extended for longer than it would have lasted", func() bool {
		return r.metric("leases_extended_total") >= before+3 || read() > 1
	})
	if got := read(); got != 1 {
		t.Errorf("read %d times", got)
	}
	finish()
	r.stop()
	if a := b.settled(); a.Completed != 1 || n.total() != 1 {
		t.Errorf("%+v after %d tries", a, n.total())
	}
}

func TestAReadInFlightAtTheDrainIsHandedBack(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	b.Publish(5)
	committed := proxy.Trap("commit", pgproxy.Held)
	var n tries
	r := b.startOn(address, settings(), handle(func(_ context.Context, m message.Message) error { n.note(m); return nil }))
	await.Value(t, "the read has been committed", committed)
	r.drain()
	await.True(t, "it drains", func() bool { return r.log.count("draining") == 1 })
	proxy.Release()
	r.stop()
	visible := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt <= clock_timestamp() and read_ct = 1
		and headers->'orderflow-released' = to_jsonb(read_ct)`)
	if visible != 5 || n.total() != 0 {
		t.Fatalf("%d of 5 are visible, %d were handled", visible, n.total())
	}
}

func TestAfterTheDrainTimeoutHandlersAreCancelledAndTheirMessagesHandedBack(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Drain = 50 * time.Millisecond
	started, causes, go_on := make(chan struct{}, 2), make(chan error, 2), make(chan struct{})
	b.Publish(2)
	r := b.start(s, handle(func(ctx context.Context, m message.Message) error {
		started <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		if m.ID == 2 {
			<-go_on // this one takes no notice
		}
		return ctx.Err()
	}))
	await.Value(t, "one starts", started)
	await.Value(t, "the other starts", started)
	r.stop()
	defer close(go_on)
	for range 2 {
		if cause := await.Value(t, "it is cancelled", causes); !errors.Is(cause, handler.ErrDraining) {
			t.Fatalf("cause: %v", cause)
		}
	}
	visible := dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt <= clock_timestamp()
		and headers->'orderflow-released' = to_jsonb(read_ct)`)
	if visible != 2 || r.log.count("left behind; its message is handed back") == 0 { // of both, where the other one is late to return
		t.Fatalf("%d of 2 are visible", visible)
	}
	if o := b.Order(1); o.Attempts != 0 {
		t.Fatalf("%+v", o)
	}
}

func TestADrainWhoseResultsCannotBeWrittenEndsAndSaysSo(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	started, go_on := make(chan struct{}), make(chan struct{})
	b.Publish(1)
	r := b.startOn(address, settings(), handle(func(context.Context, message.Message) error {
		close(started)
		<-go_on
		return nil
	}))
	await.Value(t, "it starts", started)
	proxy.Refuse()
	close(go_on)
	r.end()
	if err := r.wait(); err == nil || err.Error() != "1 leases could not be written back; they end with their visibility timeout" {
		t.Fatalf("%v", err)
	}
}

func TestARollingRestartDelaysNothing(t *testing.T) {
	b := setup(t)
	consumers := []*running{b.start(settings(), noop), b.start(settings(), noop), b.start(settings(), noop)}
	for range 3 {
		for i := range consumers {
			b.Publish(20)
			consumers[i].stop()
			b.Publish(20)
			consumers[i] = b.start(settings(), noop)
		}
	}
	// Leases last for minutes here, and nobody polls: what waited for either would not be done in time.
	if a := b.settled(); a.Completed != 360 {
		t.Fatalf("%+v", a)
	}
	if got := dbtest.One[int](b.DB, `select max(attempts) from public.orders`); got != 1 {
		t.Fatalf("%d attempts", got)
	}
}
