package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
)

// said is what a consumer says of itself.
type said struct {
	State                  string
	Busy, Capacity         int
	Completed, Failed      int64
	Retried, Dead, Latency int64
}

func (b *bundle) said() said {
	b.t.Helper()
	var s said
	err := b.QueryRow(context.Background(), `
		select state, busy, capacity, completed, failed, retried, dead, (select coalesce(sum(n), 0) from unnest(latency) n)::bigint
		from orderflow.processes where queue = 'order_queue' and kind = 'consumer' and name = 'under-test'`,
	).Scan(&s.State, &s.Busy, &s.Capacity, &s.Completed, &s.Failed, &s.Retried, &s.Dead, &s.Latency)
	if err != nil {
		return said{State: err.Error()}
	}
	return s
}

// is says whether a consumer has said what is wanted. What became of a statement whose answer came too late is in neither Retried nor Latency.
func (s said) is(want said, r *running) bool {
	if r.log.late() > 0 && s.Retried <= want.Retried && s.Latency <= want.Latency {
		s.Retried, s.Latency = want.Retried, want.Latency
	}
	return s == want
}

func (b *bundle) awaitSaid(r *running, want said) {
	b.t.Helper()
	await.True(b.t, "the consumer says what it does", func() bool { return b.said().is(want, r) })
}

// It polls every two minutes here: what it has to say does not wait for that.
func TestAConsumerSaysHowItIsDoing(t *testing.T) {
	b := setup(t)
	free := make(chan struct{})
	before := dbtest.One[time.Time](b.DB, `select clock_timestamp()`)
	r := b.start(settings(), handle(func(ctx context.Context, m message.Message) error {
		switch {
		case m.Attempt == 1 && m.OrderID == 3:
			return errors.New("not yet")
		case m.OrderID == 4:
			return errors.New("never")
		}
		select {
		case <-free:
		case <-ctx.Done():
		}
		return nil
	}))
	b.awaitSaid(r, said{State: "idle", Capacity: 8})
	// Its age and how often it reports: what it calls its start was after ours, give or take how the two clocks run.
	if ok := dbtest.One[bool](b.DB, `select every = 120 and started_at > $1::timestamptz - interval '1 minute' from orderflow.processes where name = 'under-test'`, before); !ok {
		t.Error("it does not say since when it has been there, or not how often it reports")
	}
	b.Publish(4)
	b.awaitSaid(r, said{State: "working", Busy: 3, Capacity: 8, Failed: 4, Retried: 3, Dead: 1})
	close(free)
	b.awaitSaid(r, said{State: "idle", Capacity: 8, Completed: 3, Failed: 4, Retried: 3, Dead: 1, Latency: 3})
	r.stop()
	if last := b.said(); !last.is(said{State: "gone", Capacity: 8, Completed: 3, Failed: 4, Retried: 3, Dead: 1, Latency: 3}, r) {
		t.Errorf("its last word is %+v", last)
	}
}

func TestADrainingConsumerSaysSo(t *testing.T) {
	b := setup(t)
	free, begun := make(chan struct{}), make(chan struct{})
	s := settings()
	s.Drain = time.Hour
	r := b.start(s, handle(func(context.Context, message.Message) error {
		close(begun)
		<-free
		return nil
	}))
	b.Publish(1)
	<-begun
	r.drain()
	b.awaitSaid(r, said{State: "draining", Busy: 1, Capacity: 8})
	close(free)
	r.stop()
	if last := b.said(); last.State != "gone" || last.Completed != 1 {
		t.Errorf("its last word is %+v", last)
	}
}

// A consumer that cannot say anything works all the same, and nothing is taken for an outage.
func TestNothingDependsOnReports(t *testing.T) {
	for name, hinder := range map[string]string{
		"they are refused": `drop table orderflow.processes`,
		"they are locked":  `lock table orderflow.processes in access exclusive mode`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			tx, err := b.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.Background()) }()
			if _, err := tx.Exec(t.Context(), hinder); err != nil {
				t.Fatal(err)
			}
			if name == "they are refused" {
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r := b.start(settings(), handle(func(context.Context, message.Message) error { return nil }))
			b.Publish(20)
			await.True(t, "all is done", func() bool { return b.Audit().Completed == 20 })
			await.True(t, "a report has been tried", func() bool { return r.log.count("cannot be shown on the dashboard") > 0 })
			await.True(t, "it is ready", func() bool { ok, _ := r.Ready(); return ok })
			if n := r.outages.Load(); n > int64(r.log.late()) {
				t.Errorf("%d outages", n)
			}
			r.stop()
		})
	}
}
