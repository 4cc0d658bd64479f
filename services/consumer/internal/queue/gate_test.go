package queue_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/queue"
)

// Every change is made to what is there, and none is lost, however many there are at a time, and also to a queue that has no row yet.
// Nor is a pause, which an operator may ask for in between.
func TestTheGateChangesOneStepAtATime(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	const writers, changes = 12, 25
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			conn, err := pgx.Connect(t.Context(), db.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(t.Context())
			for range changes {
				if _, err := queue.New(dbtest.QueueName, queue.Description{}).ChangeGate(t.Context(), conn, func(g queue.GateRow) gate.State {
					g.Failures++
					return g.State
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		conn, err := pgx.Connect(t.Context(), db.URL)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(t.Context())
		q, last := queue.New(dbtest.QueueName, queue.Description{}), int64(0)
		for range changes {
			for name, change := range map[string]func() (queue.GateRow, error){
				"pause":  func() (queue.GateRow, error) { return q.Pause(t.Context(), conn, "me") },
				"resume": func() (queue.GateRow, error) { return q.Resume(t.Context(), conn) },
			} {
				g, err := change()
				if err != nil || g.Paused() != (name == "pause") || g.Revision < last {
					t.Errorf("%s: %+v, %v", name, g, err)
				}
				last = g.Revision
			}
		}
		if _, err := q.Pause(t.Context(), conn, "me"); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	if by := dbtest.One[string](db, `select paused_by from orderflow.gate where paused_at is not null`); by != "me" {
		t.Errorf("paused by %q", by)
	}
	if n := dbtest.One[int](db, `select failures from orderflow.gate`); n != writers*changes {
		t.Errorf("%d of %d changes are there", n, writers*changes)
	}
}

// What is written is what is read, and a queue is the same whatever the case of its name.
func TestTheGateIsReadAsItWasWritten(t *testing.T) {
	b := setup(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	state := gate.State{
		Open: true, Since: now.Add(time.Second), Reason: "nobody\x00is there", Failures: 3, ProbeAt: now.Add(2 * time.Second),
		Prober: "me/1", ProbeUntil: now.Add(3 * time.Second), Normal: 200.5, RatedBy: []string{"a", "b"}, Arrivals: 7, ArrivedAt: now.Add(4 * time.Second),
		Limit: gate.Limit{Base: 1.5, Growth: 2.5, At: now.Add(5 * time.Second)}, Tokens: 0.25, TokensAt: now.Add(6 * time.Second), PatienceUntil: now.Add(7 * time.Second),
	}
	written, err := b.ChangeGate(b.ctx, b.conn, func(found queue.GateRow) gate.State {
		if found.Revision != 0 || !reflect.DeepEqual(found.State, gate.State{}) && len(found.RatedBy) > 0 {
			t.Errorf("a queue without a row: %+v", found)
		}
		return state
	})
	if err != nil {
		t.Fatal(err)
	}
	paused, err := queue.New("Order_Queue", queue.Description{}).Pause(b.ctx, b.conn, "me")
	if err != nil || paused.PausedBy != "me" || !paused.Paused() || paused.Revision <= written.Revision {
		t.Fatalf("paused: %+v, %v", paused, err)
	}
	state.PausedAt, state.PausedBy = paused.PausedAt.UTC(), "me"
	read, err := queue.New("ORDER_QUEUE", queue.Description{}).ReadGate(b.ctx, b.conn)
	if err != nil {
		t.Fatal(err)
	}
	state.Reason = "nobody\ufffdis there" // as Postgres can have it
	got := read.State
	for _, at := range []*time.Time{&got.PausedAt, &got.Since, &got.ProbeAt, &got.ProbeUntil, &got.ArrivedAt, &got.Limit.At, &got.TokensAt, &got.PatienceUntil} {
		*at = at.UTC()
	}
	if read.Revision != paused.Revision || !reflect.DeepEqual(got, state) {
		t.Errorf("read %+v\nwritten %+v", got, state)
	}
	if seen, err := b.Peek(b.ctx, b.conn, time.Time{}); err != nil || seen.Gate != read.Revision {
		t.Errorf("a look shows revision %d: %v", seen.Gate, err)
	}
	changed, err := b.ChangeGate(b.ctx, b.conn, func(g queue.GateRow) gate.State {
		g.Tokens++
		return g.State
	})
	if err != nil {
		t.Fatal(err)
	}
	if read, err := b.ReadGate(b.ctx, b.conn); err != nil || !read.Paused() || read.PausedBy != "me" || read.Tokens != changed.Tokens {
		t.Errorf("a change has undone the pause: %+v, %v", read, err)
	}
	resumed, err := b.Resume(b.ctx, b.conn)
	if err != nil || resumed.Paused() || resumed.PausedBy != "" || resumed.Failures != 3 || resumed.Revision <= read.Revision {
		t.Errorf("resumed: %+v, %v", resumed, err)
	}
}
