package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// flight is one delivery of a message while we hold its lease. Its fields but msg are guarded by held.
type flight struct {
	msg      message.Message
	stage    stage
	until    time.Time // the lease holds at least until then: counted from before its statement was sent, on our monotonic clock
	renew    time.Time // when it is to be extended
	busy     writer    // whose statement about it is under way
	deadline time.Time // of its handler
	cancel   context.CancelCauseFunc
	lost     bool // another consumer has it
	warned   bool // its handler has been cancelled because the lease ran out
}

// bytes is what the flight's message takes in memory.
func (f *flight) bytes() int64 { return int64(len(f.msg.Body) + len(f.msg.Headers)) }

type stage int

const (
	buffered stage = iota // waits for a worker
	running               // its handler runs
	acking                // done; until the ack has been written the lease is extended, but not while that is tried
	leaving               // to be delayed, handed back or buried: extending it now would undo that
	gone                  // its lease has ended
)

// writer is a part that writes about leases. Only one at a time writes about the same lease: a heartbeat holds the message's row
// until it has committed, and where that takes long, an ack beside it would find the row locked time and again.
type writer int

const (
	nobody writer = iota
	heartbeat
	settlement
)

// held is the set of leases that we hold: the one place that knows which messages are whose turn. A flight's outcome is
// decided once, by whoever moves it out of buffered or running first: its worker, the deadline, or the drain.
type held struct {
	mu      sync.Mutex
	flights map[*flight]struct{}
	stuck   int // workers whose handler goes on after its flight has been decided

	freed chan struct{} // signals that heartbeats are over, and the leases free to be written about

	size, waiting, working atomic.Int64 // for the fetcher's arithmetic, without the lock
	bytes                  atomic.Int64 // of bodies and headers
}

func newHeld() *held {
	return &held{flights: map[*flight]struct{}{}, freed: make(chan struct{}, 1)}
}

func (h *held) add(flights []*flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range flights {
		h.flights[f] = struct{}{}
		h.bytes.Add(f.bytes())
		if f.stage == buffered {
			h.waiting.Add(1)
		}
	}
	h.size.Store(int64(len(h.flights)))
}

// start gives a buffered flight to a worker, which is to cancel through cancel. It is refused when the lease has been lost
// meanwhile.
func (h *held) start(f *flight, deadline time.Time, cancel context.CancelCauseFunc) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.stage != buffered {
		return false
	}
	f.stage, f.deadline, f.cancel = running, deadline, cancel
	h.waiting.Add(-1)
	h.working.Add(1)
	return true
}

// decide moves a flight to its end (acking or leaving). Only the first to call it may settle the flight; lost says that
// there is nothing to settle because the lease belongs to somebody else.
func (h *held) decide(f *flight, to stage) (first, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.decideLocked(f, to)
}

func (h *held) decideLocked(f *flight, to stage) (first, lost bool) {
	switch f.stage {
	case buffered:
		h.waiting.Add(-1)
	case running:
		h.working.Add(-1)
	default:
		return false, f.lost
	}
	if f.lost {
		h.dropLocked(f)
		return true, true
	}
	f.stage = to
	return true, false
}

// change turns an ack that cannot be written into something else, so that its lease is no longer extended.
func (h *held) change(f *flight, to stage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.stage == acking || f.stage == leaving {
		f.stage = to
	}
}

// drop forgets a flight whose lease has ended.
func (h *held) drop(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked(f)
}

func (h *held) dropLocked(f *flight) {
	f.stage = gone
	if _, held := h.flights[f]; held {
		h.bytes.Add(-f.bytes())
	}
	delete(h.flights, f)
	h.size.Store(int64(len(h.flights)))
}

// expired says whether a flight's lease may have run out.
func (h *held) expired(f *flight, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(f.until)
}

// expiring returns the flights whose leases are to be extended now.
func (h *held) expiring(now time.Time) []*flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*flight
	for f := range h.flights {
		if f.extendable() && !now.Before(f.renew) {
			found = append(found, f)
		}
	}
	return found
}

func (f *flight) extendable() bool { return f.stage <= acking && !f.lost && f.busy == nobody }

// extending returns those of flights that may still be extended, and keeps the settler from them until extended is called.
func (h *held) extending(flights []*flight) []*flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	var claimed []*flight
	for _, f := range flights {
		if f.extendable() {
			f.busy = heartbeat
			claimed = append(claimed, f)
		}
	}
	return claimed
}

// extended notes that the heartbeat of flights is over. Those in confirmed hold until then.
func (h *held) extended(flights, confirmed []*flight, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range confirmed {
		f.until, f.renew = until, renewal(now, until)
	}
	for _, f := range flights {
		f.busy = nobody
	}
	signal(h.freed)
}

// settling keeps the heartbeat from what is to be settled, until settled is called. What the heartbeat is at just now is left to it.
func (h *held) settling(batch []outcome) (claimed, taken []outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range batch {
		if o.flight.busy == heartbeat {
			taken = append(taken, o)
			continue
		}
		o.flight.busy = settlement
		claimed = append(claimed, o)
	}
	return claimed, taken
}

// settled lets the heartbeat have again what could not be settled.
func (h *held) settled(batch []outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range batch {
		o.flight.busy = nobody
	}
}

// lose notes that another consumer has a flight's lease and cancels its handler. It says false when that is no news:
// the flight has been decided meanwhile, and whoever settles it will find out.
func (h *held) lose(f *flight, cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch f.stage {
	case buffered:
		h.waiting.Add(-1)
		h.dropLocked(f)
		return true
	case running:
		if f.lost {
			return false
		}
		f.lost = true
		f.cancel(cause)
		return true
	default:
		return false
	}
}

// expire cancels, once, the handlers whose lease has run out without our being able to extend it.
func (h *held) expire(now time.Time, cause error) []*flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*flight
	for f := range h.flights {
		if f.stage == running && !f.warned && !now.Before(f.until) {
			f.warned = true
			f.cancel(cause)
			found = append(found, f)
		}
	}
	return found
}

// abandon decides the flights whose handler is still running grace after its deadline, or all that run when now is zero.
// Their workers stay occupied until the handlers return. What it returns is to be settled.
func (h *held) abandon(now time.Time, grace time.Duration) []*flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*flight
	for f := range h.flights {
		if f.stage == running && (now.IsZero() || now.Sub(f.deadline) >= grace) {
			h.stuck++
			if _, lost := h.decideLocked(f, leaving); !lost {
				found = append(found, f)
			}
		}
	}
	return found
}

// returned notes that the handler of an abandoned flight has come back after all.
func (h *held) returned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck--
}

func (h *held) stuckSlots() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stuck
}

// signal leaves a token in a channel of capacity one: the receiver will look once more, whoever sent it and how often.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
