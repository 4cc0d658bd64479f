package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestEveryOrderIsCompletedOnceAndItsFailuresAreCounted(t *testing.T) {
	b := setup(t)
	ids := b.Publish(100)
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		if m.Attempt == 1 && m.ID%2 == 0 || m.Attempt == 2 && m.ID%6 == 0 {
			return errFailed
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 100 {
		t.Fatalf("%+v", a)
	}
	for _, id := range ids {
		want := 1
		if id%2 == 0 {
			want++
		}
		if id%6 == 0 {
			want++
		}
		if o := b.Order(id); o.Attempts != want || o.Effects != 1 || *o.ProcessedBy != "under-test" || o.LastError != nil {
			t.Fatalf("order %d: %+v, want %d attempts", id, o, want)
		}
	}
	r.stop()
	unseen := map[string]bool{"messages_retried_total": true, "order_latency_seconds": true} // where the answer came too late
	for name, want := range map[string]float64{
		"messages_processed_total": 100, "messages_failed_total": 66, "messages_retried_total": 66, "messages_received_total": 166,
		"messages_dead_total": 0, "lease_lost_total": 0, "leases_held": 0, "order_latency_seconds": 100,
	} {
		if got := r.metric(name); got != want && !(got < want && unseen[name] && r.log.late() > 0) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestPoisonOfEveryKindEndsInTheDeadLettersAndDisturbsNobody(t *testing.T) {
	b := setup(t)
	poison := map[any]string{
		nil:                            message.ReasonNotAnObject,
		`null`:                         message.ReasonNotAnObject,
		`17`:                           message.ReasonNotAnObject,
		`"an order, honestly"`:         message.ReasonNotAnObject,
		`[{"order_id": 1}]`:            message.ReasonNotAnObject,
		`{}`:                           message.ReasonBadMessage,
		`{"ORDER_ID": 1}`:              message.ReasonBadMessage,
		`{"order_id": null}`:           message.ReasonBadMessage,
		`{"order_id": "1"}`:            message.ReasonBadMessage,
		`{"order_id": 0}`:              message.ReasonBadMessage,
		`{"order_id": -1}`:             message.ReasonBadMessage,
		`{"order_id": 1.5}`:            message.ReasonBadMessage,
		`{"order_id": 1e30}`:           message.ReasonBadMessage,
		`{"order_id": {"id": 1}}`:      message.ReasonBadMessage,
		`{"order_id": 4711}`:           message.ReasonUnknownOrder,
		`{"order_id": 1, "price": ""}`: message.ReasonBadMessage,
	}
	b.Publish(10)
	for body := range poison {
		b.Send(body, nil)
	}
	b.Publish(10)
	b.start(settings(), handle(func(context.Context, message.Message) error { return nil }))
	a := b.settled()
	// The last kind names an order that exists and has a message of its own: whichever comes first decides, and neither is lost.
	if a.Completed+a.Dead != 20 || a.Completed < 19 || a.Letters != len(poison) {
		t.Fatalf("%+v", a)
	}
	for body, reason := range poison {
		got := dbtest.All[string](b.DB, `select headers->'orderflow-dead'->>'reason' from pgmq.q_order_queue_dlq
			where message is not distinct from $1::jsonb`, body)
		if len(got) != 1 || got[0] != reason {
			t.Errorf("%v: dead for %v, want %s", body, got, reason)
		}
	}
	if o := b.Order(2); o.Attempts != 1 {
		t.Errorf("%+v", o)
	}
}

func TestAPermanentErrorIsNotTriedAgain(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	var n tries
	b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		n.note(m)
		return fmt.Errorf("wrapped: %w", handler.Permanent(errFailed))
	}))
	if a := b.settled(); a.Dead != 1 || a.Letters != 1 || n.of(id) != 1 {
		t.Fatalf("%+v after %d tries", a, n.of(id))
	}
	if o := b.Order(id); !o.Dead || o.Attempts != 1 || *o.LastError != "wrapped: failed on purpose" {
		t.Fatalf("%+v", o)
	}
}

func TestAfterTheLastAttemptAMessageIsDead(t *testing.T) {
	b := setup(t)
	id := b.Publish(1)[0]
	var n tries
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		n.note(m)
		return errFailed
	}))
	if a := b.settled(); a.Dead != 1 || n.of(id) != 3 {
		t.Fatalf("%+v after %d tries", a, n.of(id))
	}
	if o := b.Order(id); o.Attempts != 3 {
		t.Fatalf("%+v", o)
	}
	// A redriven order starts afresh.
	if moved := dbtest.All[int64](b.DB, `select new_msg_id from orderflow.redrive('order_queue', (select array_agg(msg_id) from pgmq.q_order_queue_dlq))`); len(moved) != 1 {
		t.Fatalf("redrive moved %v", moved)
	}
	await.True(t, "the redriven order is dead again", func() bool { return n.total() == 6 && b.Audit().Letters == 1 })
	r.stop()
}

func TestAHandlerMayChooseWhenItIsTriedAgain(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Backoff.Base, s.Backoff.Max = time.Hour, time.Hour
	b.Publish(1)
	b.start(s, handle(func(_ context.Context, m message.Message) error {
		if m.Attempt == 1 {
			return handler.RetryAfter(30*time.Millisecond, errFailed)
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 1 {
		t.Fatalf("%+v", a)
	}
}

func TestARetryStartsWhenItIsDueAndNotWhenSomebodyPolls(t *testing.T) {
	b := setup(t)
	b.Publish(20)
	late := make(chan time.Duration, 20)
	b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		if m.Attempt == 1 {
			return handler.RetryAfter(time.Duration(100+10*m.ID)*time.Millisecond, errFailed)
		}
		late <- m.Leased.Sub(m.Due)
		return nil
	}))
	b.settled()
	for range 20 {
		// Two minutes without an exact wake-up; what is allowed here is a busy machine's.
		if d := <-late; d > 30*time.Second {
			t.Fatalf("a retry was read %s after it was due", d)
		}
	}
}

func TestAPanicIsAFailureOfItsMessageOnly(t *testing.T) {
	b := setup(t)
	b.Publish(10)
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		if m.ID == 5 {
			panic("boom")
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 9 || a.Dead != 1 {
		t.Fatalf("%+v", a)
	}
	if o := b.Order(5); *o.LastError != "handler panicked: boom" || o.Attempts != 3 {
		t.Fatalf("%+v %s", o, *o.LastError)
	}
	if r.log.count("stack=") != 3 {
		t.Fatal("the log does not say where")
	}
}

// An error of a type of the user's may panic when it is asked for its text, or for what it wraps: then the handler has panicked.
func TestAnErrorThatPanicsIsAFailureOfItsMessageOnly(t *testing.T) {
	b := setup(t)
	b.Publish(30)
	r := b.start(settings(), handle(func(_ context.Context, m message.Message) error {
		switch m.ID {
		case 5:
			return (*speechless)(nil)
		case 6:
			return wrapper{}
		case 7:
			return matcher{}
		}
		return nil
	}))
	if a := b.settled(); a.Completed != 27 || a.Dead != 3 {
		t.Fatalf("%+v", a)
	}
	for id := int64(5); id <= 7; id++ {
		if o := b.Order(id); !strings.Contains(*o.LastError, "handler panicked") || o.Attempts != 3 {
			t.Errorf("%+v %s", o, *o.LastError)
		}
	}
	r.stop()
}

type speechless struct{ text string }

func (s *speechless) Error() string { return s.text }

type wrapper struct{}

func (wrapper) Error() string { return "wraps something" }
func (wrapper) Unwrap() error { panic("over what it wraps") }

type matcher struct{}

func (matcher) Error() string { return "is something" }
func (matcher) Is(error) bool { panic("over what it is") }

func TestADeadlineEndsAnAttempt(t *testing.T) {
	b := setup(t)
	s := settings()
	s.HandlerTimeout = 2 * time.Second // the second attempt, too, has no more
	b.Publish(1)
	r := b.start(s, handle(func(ctx context.Context, m message.Message) error {
		if m.Attempt == 1 {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), handler.ErrTimeout) {
				t.Errorf("cause: %v", context.Cause(ctx))
			}
			return ctx.Err()
		}
		return nil
	}))
	b.settled()
	if o := b.Order(1); o.Attempts != 2 {
		t.Fatalf("%+v", o)
	}
	if got := counter(t, r.metrics.Registry, "orderflow_consumer_messages_failed_total", "timeout"); got != 1 {
		t.Errorf("%v attempts that were out of time", got)
	}
	if got := dbtest.All[string](b.DB, `select outcome from orderflow.history`); !slices.Equal(got, []string{"timed_out"}) {
		t.Errorf("history: %v", got)
	}
}

func TestAHandlerThatIgnoresItsDeadlineKeepsItsSlotAndNothingElse(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Concurrency, s.HandlerTimeout = 2, 2*time.Second
	free := make(chan struct{})
	b.Publish(1)
	r := b.start(s, handle(func(_ context.Context, m message.Message) error {
		if m.ID == 1 && m.Attempt == 1 {
			<-free
			return errFailed
		}
		return nil
	}))
	// Its message is given to the other slot, and so are those that come later.
	await.True(t, "the message is done elsewhere", func() bool { return b.Order(1).Status == "completed" })
	b.Publish(5)
	b.settled()
	if got := r.metric("worker_slots_stuck"); got != 1 {
		t.Fatalf("%v slots are stuck", got)
	}
	close(free)
	await.True(t, "the slot is free again", func() bool { return r.metric("worker_slots_stuck") == 0 })
	if o := b.Order(1); o.Effects != 1 || o.Attempts != 2 || r.metric("messages_failed_total") != 1 {
		t.Fatalf("%+v after %v failures", o, r.metric("messages_failed_total"))
	}
	if r.log.count("given up") != 2 {
		t.Fatal("the log does not say both that it was given up and that it came back")
	}
}

func TestWhenEverySlotIsStuckNothingMoreIsFetched(t *testing.T) {
	b := setup(t)
	s := settings()
	s.Concurrency, s.HandlerTimeout, s.MaxAttempts = 2, 50*time.Millisecond, 100
	free := make(chan struct{})
	b.Publish(10)
	r := b.start(s, handle(func(context.Context, message.Message) error { <-free; return nil }))
	await.True(t, "both slots are stuck and nothing is held", func() bool {
		return r.metric("worker_slots_stuck") == 2 && r.metric("leases_held") == 0
	})
	if got := dbtest.One[int](b.DB, `select sum(read_ct) from pgmq.q_order_queue`); got != 2 {
		t.Fatalf("%d reads for two slots", got)
	}
	close(free)
	if a := b.settled(); a.Completed != 10 {
		t.Fatalf("%+v", a)
	}
}
