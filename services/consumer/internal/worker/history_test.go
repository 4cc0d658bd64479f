package worker_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// wantHistory compares what is told of an order: outcome, attempt, reason and error, a line for each row. Each row's times have to be in
// their order, and those that a consumer knows have to be there.
func (b *bundle) wantHistory(order int64, want ...string) {
	b.t.Helper()
	got := dbtest.All[string](b.DB, `
		select concat_ws(' ', outcome, 'x' || nullif(times, 1), attempt, reason, error) from orderflow.history where order_id = $1 order by seq`, order)
	if !slices.Equal(got, want) {
		b.t.Errorf("history of order %d:\n%s\nwant:\n%s", order, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if wrong := dbtest.All[string](b.DB, `
		select h::text from orderflow.history as h
		 where outcome not in ('unanswered', 'crashed')
		   and (due_at <= leased_at and leased_at <= coalesce(started_at, ended_at) and coalesce(started_at, leased_at) <= ended_at
		        and ended_at <= settled_at and consumer is not null
		        and (attempt is null or started_at is not null or outcome = 'lease_lost')) is not true`); len(wrong) > 0 {
		b.t.Errorf("times are missing or out of order:\n%s", strings.Join(wrong, "\n"))
	}
	if wrong := dbtest.All[int64](b.DB, `
		select id from public.orders where status = 'completed' and (created_at <= started_at and started_at <= completed_at) is not true`); len(wrong) > 0 {
		b.t.Errorf("orders %v do not say when they were started", wrong)
	}
}

func TestTheHistoryTellsWhyAnAttemptDidNotSucceed(t *testing.T) {
	b := setup(t)
	b.Publish(4)
	bad := b.Send(`{"order_id": 4, "quantity": "many"}`, nil)
	s := settings()
	s.Concurrency = 1
	b.start(s, handle(func(_ context.Context, m message.Message) error {
		switch {
		case m.OrderID == 1:
			return nil
		case m.OrderID == 2 && m.Attempt == 1:
			return errFailed
		case m.OrderID == 2 && m.Attempt == 2:
			panic("boom")
		case m.OrderID == 3:
			return handler.Permanent(errFailed)
		}
		if m.ID != bad && m.OrderID == 4 {
			return errFailed
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 2 || a.Dead != 2 {
		t.Fatalf("%+v", a)
	}
	b.wantHistory(1)
	b.wantHistory(2, "failed 1 "+errFailed.Error(), "panicked 2 handler panicked: boom")
	b.wantHistory(3, "permanent 1 permanent "+errFailed.Error())
	if got := dbtest.All[string](b.DB, `select outcome || coalesce(attempt, 0) || coalesce(reason, '') from orderflow.history where order_id = 4 and msg_id = 4 order by seq`); !slices.Equal(
		got, []string{"failed1", "failed2", "failed3max_attempts"}) {
		t.Errorf("order 4: %v", got)
	}
}

// A drain's hand-backs are told, and so are those who come back too late, whoever of them has noticed it.
func TestTheHistoryTellsOfHandBacksAndLostLeases(t *testing.T) {
	for name, result := range map[string]error{"ack": nil, "nack": errFailed} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(3)
			s := settings()
			s.Concurrency, s.Prefetch, s.Drain = 1, 2, time.Hour
			started, goOn := make(chan struct{}), make(chan struct{})
			r := b.start(s, handle(func(_ context.Context, _ message.Message) error {
				close(started)
				<-goOn
				return result
			}))
			await.Value(t, "the first is worked on", started)
			await.True(t, "the others wait", func() bool { return r.metric("leases_held") == 3 })
			b.steal(1)
			r.drain()
			await.True(t, "the others have been handed back", func() bool { return r.metric("messages_released_total") == 2 })
			close(goOn)
			r.stop()
			b.wantHistory(1, strings.TrimSpace("lease_lost "+map[bool]string{true: errFailed.Error()}[result != nil]))
			b.wantHistory(2, "released")
			b.wantHistory(3, "released")
		})
	}
}

func TestTheHistoryTellsOfALostLeaseThatTheHeartbeatNotices(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	s := settings()
	s.Visible = 20 * time.Second
	started, stolen := make(chan struct{}), make(chan struct{})
	r := b.start(s, handle(func(ctx context.Context, _ message.Message) error {
		close(started)
		<-ctx.Done()
		<-stolen
		return ctx.Err()
	}))
	await.Value(t, "it is worked on", started)
	b.steal(1)
	close(stolen)
	await.True(t, "the heartbeat has noticed", func() bool { return r.metric("lease_lost_total") == 1 })
	r.stop()
	b.wantHistory(1, "lease_lost")
	if got := r.metric("lease_lost_total"); got != 1 {
		t.Errorf("%v leases were lost", got)
	}
}

// What a dead consumer held is told by who reads it next: when its lease ended, and that nobody knows more.
func TestTheHistoryTellsOfConsumersThatDied(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.crash(0)
	b.crash(1)
	b.start(settings(), noop)
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
	b.wantHistory(1, "unanswered", "crashed 1")
	if got := dbtest.All[string](b.DB, `select coalesce(consumer, '-') from orderflow.history order by seq`); !slices.Equal(got, []string{"-", "dead"}) {
		t.Errorf("consumers %v", got)
	}
	if o := b.Order(1); o.Attempts != 2 {
		t.Errorf("%+v", o)
	}
}
