package gating

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// An attempt that began before the breaker opened says nothing about what is there now that it is closed again: it neither counts nor opens it.
func TestAnAttemptOfBeforeAnOutageDoesNotCount(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	refused := errors.New("connection refused")
	before := make([]Ticket, 20)
	for i := range before {
		before[i] = NewTicket(int64(i))
		g.Starts(&before[i])
	}
	g.epoch += 2 // it has opened, and closed
	for i := range before {
		if g.ended(&before[i], gate.Unavailable, time.Second, refused) {
			t.Fatalf("attempt %d counts", i+1)
		}
	}
	now := NewTicket(100)
	g.Starts(&now)
	if !g.ended(&now, gate.Unavailable, time.Second, refused) || g.trip != "" {
		t.Errorf("the attempts of before have opened the breaker: %q", g.trip)
	}
}

// While an outage's recovery has just begun, what finds nobody there belongs to the outage. What an order itself is the reason of counts.
func TestAFailureInARecoveryDoesNotCount(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	now := time.Now()
	var s gate.State
	for _, told := range []gate.Told{{Trip: "connection refused"}, {Want: 1}, {Probe: gate.ProbeAnswered}} {
		told.Who = "one"
		s, _ = s.Step(now, g.policy, told)
	}
	if !s.Recovering(now) {
		t.Fatalf("no recovery: %+v", s)
	}
	g.known, g.heard, g.database, g.stale = s, now, now, false
	for result, want := range map[gate.Result]bool{gate.Unavailable: false, gate.Answered: true} {
		ticket := NewTicket(1)
		g.Starts(&ticket)
		if counts := g.ended(&ticket, result, time.Second, errors.New("connection refused")); counts != want {
			t.Errorf("result %d counts: %t", result, counts)
		}
		g.Returned(&ticket)
	}
}

// What was found before the breaker of all opened and closed says nothing of the time after it.
func TestResultsOfBeforeAnOutageAreForgotten(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	fail := func(message int64) {
		ticket := NewTicket(message)
		g.Starts(&ticket)
		g.ended(&ticket, gate.Unavailable, time.Second, errors.New("connection refused"))
		g.Returned(&ticket)
	}
	for message := range int64(9) {
		fail(message)
	}
	now := time.Now()
	g.mu.Lock()
	g.learnLocked(queue.GateRow{State: gate.State{Open: true, Since: now, Reason: "said so"}, Now: now}, gate.Told{})
	g.learnLocked(queue.GateRow{State: gate.State{Since: now.Add(time.Second)}, Now: now.Add(time.Second)}, gate.Told{})
	g.mu.Unlock()
	if fail(9); g.trip != "" {
		t.Errorf("one failure since has opened it: %s", g.trip)
	}
}

// Who was disproved has found somebody there, and is like all others again.
func TestAnAnswerEndsWhatWasDisproved(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	g.own.disproved = true
	one := NewTicket(1)
	g.Starts(&one)
	g.ended(&one, gate.Unavailable, time.Second, errors.New("answered 401"))
	if !g.own.disproved {
		t.Error("a failure has ended it")
	}
	g.Returned(&one)
	one = NewTicket(1)
	g.Starts(&one)
	g.ended(&one, gate.Answered, time.Second, nil)
	if g.own.disproved {
		t.Error("an answer has not ended it")
	}
}

// What the database could not be told is told when it can be: until then nothing is permitted because of it.
func TestWhatCouldNotBeToldIsToldAgain(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	link := pg.NewServer(testdb.Address(t, "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable"), "one", slog.New(slog.DiscardHandler), pg.Observer{}).NewLink("fetch", nil)
	defer link.Close()
	q := queue.New("order_queue", queue.Description{})
	g.stale = false
	g.mu.Lock()
	g.tripLocked(time.Now(), "connection refused")
	g.patience, g.eased = time.Minute, true
	g.mu.Unlock()
	for range 2 {
		p, err := g.Ask(t.Context(), link, q, 10)
		if err == nil || p.Fetch > 0 || !p.Shut {
			t.Fatalf("%+v, %v", p, err)
		}
		if !g.news || g.trip == "" || !g.eased || g.patience != time.Minute {
			t.Fatalf("forgotten: news %t, trip %q, eased %t for %s", g.news, g.trip, g.eased, g.patience)
		}
	}
}
