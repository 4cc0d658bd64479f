package gating

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
)

// newTestGate is a gate that nobody has told of the database, with so many workers.
func newTestGate(workers int) *Gate {
	return New(Settings{
		ID: "one", Concurrency: workers, HandlerTimeout: time.Minute, Grace: time.Second, Breaker: Breaker{Share: 0.5, Least: 10},
	}, slog.New(slog.DiscardHandler), metrics.New("test", "order_queue", "test"))
}

// attempt lets a worker be occupied for a time, and says how that ended.
func (g *Gate) attempt(t *Ticket, took time.Duration, r gate.Result) (counts bool) {
	g.Starts(t)
	<-time.After(took)
	defer g.Returned(t)
	return g.ended(t, r, took, errors.New("not there"))
}

// Handlers have become slow when all workers are occupied and can do far less than is normal; not when some are free, and not for one answer.
func TestWhenHandlersHaveBecomeSlow(t *testing.T) {
	t.Parallel()
	const workers = 4
	for name, test := range map[string]struct {
		occupied int // beside the one that answers
		took     time.Duration
		want     bool
	}{
		"all are, for long":                 {workers - 1, time.Second, true},
		"one is free":                       {workers - 2, time.Second, false},
		"all are, as quick as ever":         {workers - 1, 10 * time.Millisecond, false},
		"all are, for somewhat longer":      {workers - 1, 60 * time.Millisecond, false},
		"all are, for more than twice that": {workers - 1, 100 * time.Millisecond, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newTestGate(workers)
			for range 1000 { // ten seconds
				g.attempt(&Ticket{}, 10*time.Millisecond, gate.Answered)
			}
			if g.slowed {
				t.Errorf("%s: slow from the start", name)
			}
			for range test.occupied {
				g.Starts(&Ticket{})
			}
			<-time.After(2 * time.Second) // what was quick is not of late any more
			select {
			case <-g.changed:
			default:
			}
			for range 3 {
				g.attempt(&Ticket{}, test.took, gate.Answered)
			}
			told := len(g.changed) == 1 && g.news
			if g.slowed != test.want || told != test.want {
				t.Errorf("%s: slow %t, told %t", name, g.slowed, told)
			}
		})
	}
}

// A handler of somebody else's may fail without a word. What it calls is unavailable all the same.
func TestAFailureWithoutATextOpensTheBreaker(t *testing.T) {
	t.Parallel()
	g := newTestGate(4)
	for message := range int64(20) {
		ticket := NewTicket(message)
		g.Starts(&ticket)
		g.AttemptEnded(&ticket, ending.Returned{Err: handler.Unavailable(errors.New(""))})
		g.Returned(&ticket)
	}
	ticket := NewTicket(21)
	if g.Starts(&ticket) {
		t.Error("handlers are started although what they call is unavailable")
	}
}

// A handler that is slow to fail still opens the breaker: results count for as long as it takes that enough of them come in.
func TestFailuresThatTakeTheirTimeOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(1)
		for message := range int64(10) {
			if g.trip != "" {
				t.Fatalf("it has opened after %d attempts", message)
			}
			ticket := NewTicket(message)
			g.attempt(&ticket, time.Minute, gate.Unavailable)
		}
		if g.trip == "" {
			t.Error("ten attempts in a row have found nobody there, in a minute each, and the breaker is closed")
		}
	})
}

// A probe may take as long as its handler and its ack work are allowed to. After that it is taken for lost.
func TestAProbeGoesOnForAsLongAsItMayTake(t *testing.T) {
	t.Parallel()
	g := newTestGate(1)
	now := time.Now()
	ticket := NewTicket(1)
	g.Fetched(g.permitLocked(gate.Answer{Grant: 1, Probe: true}), 1, &ticket)
	if g.permitHere(now.Add(90*time.Second), 0); g.probe != gate.ProbeRunning { // its handler has a minute, and its ack work
		t.Errorf("after a minute and a half it is %s", g.probe)
	}
	if g.permitHere(now.Add(3*time.Minute), 0); g.probe != gate.ProbeUnused {
		t.Errorf("after three minutes it is %s", g.probe)
	}
}

// The name of a process is written and read again by databases of any encoding, and has to come back as it was.
func TestTheNameOfAProcessIsASCII(t *testing.T) {
	t.Parallel()
	g := New(Settings{ID: "zürich-1", Concurrency: 1}, slog.New(slog.DiscardHandler), metrics.New("test", "order_queue", "test"))
	if !strings.HasPrefix(g.who, "z?rich-1/") {
		t.Errorf("it is called %q", g.who)
	}
}
