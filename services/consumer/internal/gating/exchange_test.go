package gating

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// What a handler hears while this consumer has stopped itself is told to the others at once, and not when they have forgotten it.
func TestPatienceIsToldWhileTheOwnBreakerIsOpen(t *testing.T) {
	t.Parallel()
	db, g := dbtest.New(t), newTestGate(4)
	q := queue.New(dbtest.QueueName, queue.Description{})
	server := pg.NewServer(testdb.Address(t, db.URL), "one", slog.New(slog.DiscardHandler), pg.Observer{})
	link := server.NewLink("fetch", nil)
	defer link.Close()
	ask := func() Permit {
		t.Helper()
		p, err := g.Ask(t.Context(), link, q, 1)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ask()
	g.own.disproved = true
	for message := range int64(20) {
		ticket := NewTicket(message)
		g.Starts(&ticket)
		g.AttemptEnded(&ticket, ending.Returned{Err: handler.Unavailable(errors.New("answered 401"))})
		g.Returned(&ticket)
	}
	p := ask()
	if !g.own.Open || g.known.Open {
		t.Fatal("it has not stopped itself alone")
	}
	if p.Fetch != 1 {
		t.Fatalf("%+v: no probe", p)
	}
	ticket := NewTicket(100)
	g.Fetched(p, 1, &ticket)
	g.Starts(&ticket)
	g.AttemptEnded(&ticket, ending.Returned{Err: handler.Throttled(time.Minute, errors.New("answered 429"))})
	ask()
	told := dbtest.One[int](db, `select count(*) from orderflow.gate where patience_until > clock_timestamp() + interval '30 seconds'`)
	if told != 1 {
		t.Error("the others do not know that patience was asked for")
	}
	if g.known.Open {
		t.Error("the breaker of all is open")
	}
}

// A handler asks for patience while this consumer, which has stopped itself, hears what the gate says: the others hear of it the next time.
func TestWhatIsHeardDuringAnExchangeIsToldInTheNext(t *testing.T) {
	t.Parallel()
	g := newTestGate(4)
	g.own.disproved = true
	g.mu.Lock()
	g.tripLocked(time.Now(), "answered 401")
	g.mu.Unlock()
	_, x := g.permitHere(time.Now(), 1)
	if x == nil || !g.own.Open {
		t.Fatal("it has nothing to hear, or has not stopped itself")
	}
	g.ease(handler.Throttled(time.Minute, errors.New("answered 429")))
	x.agreed.Now = time.Now()
	if _, err := g.adopt(x, nil); err != nil {
		t.Fatal(err)
	}
	if p, next := g.permitHere(time.Now(), 1); next == nil || next.told.Patience != time.Minute {
		t.Errorf("nobody is told: %+v", p)
	}
}
