package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"orderflow.example/services/consumer/internal/message"
)

// delivery is one delivery of a message while we hold its lease. Its fields but msg, span, read, due and gateNotes are guarded by held.
type delivery struct {
	gateNotes
	msg       message.Message
	span      trace.Span // nil: nobody records its trace. It guards itself
	stage     stage
	read      time.Time // when the read that leased it was answered, on our monotonic clock
	started   time.Time // start of its handler, likewise; zero: not started
	until     time.Time // the lease holds at least until then: counted from before its statement was sent, on our monotonic clock
	renew     time.Time // when it is to be extended
	claimedBy claimant  // whose statement about it is under way
	deadline  time.Time // of its handler
	cancel    context.CancelCauseFunc
	member    bool      // it is in the company of those that are worked on
	stays     bool      // it is so until its end has been written
	known     bool      // its start has been made known, and so has to be answered, even late
	lost      bool      // another consumer has it, as the heartbeat has found out
	warned    bool      // its handler has been cancelled because the lease ran out
	inAckWork bool      // its ack work waits, or is being done
	due       time.Time // when it was due before it was read, on our clock
}

// bytes is what the delivery's message takes in memory.
func (d *delivery) bytes() int64 { return int64(len(d.msg.Body) + len(d.msg.Headers)) }

func (d *delivery) suspicion() suspicion { return suspicionOf(d.msg.Unanswered) }

// gateNotes are what the gate knows of a delivery, and guards.
type gateNotes struct {
	probe    bool // to find out whether the breaker may close
	epoch    int  // of the gate, when its handler began
	reported bool // the gate has heard how it ended
}

type stage int

const (
	buffered stage = iota // waits for a worker
	running               // its handler runs
	acking                // done; until the ack has been written the lease is extended, but not while that is tried
	leaving               // to be delayed, handed back or buried: extending it now would undo that
	gone                  // its lease has ended
)

// stamp is a moment of ours by the database's clock: as long after the read that leased the message.
func (d *delivery) stamp(moment time.Time) message.Instant {
	leased, ok := d.msg.Leased.Time()
	if !ok || moment.IsZero() || d.read.IsZero() {
		return message.Instant{}
	}
	return message.InstantOf(leased.Add(moment.Sub(d.read)))
}

// held is the set of leases that we hold: the one place that knows which stage each delivery is in. A delivery's outcome is decided
// once, by whoever moves it out of buffered or running first: its worker, the fetcher that hands it back, the deadline, or the drain.
type held struct {
	mu         sync.Mutex
	deliveries map[*delivery]struct{}
	company    *company
	stuck      int // workers whose handler goes on after its delivery has been decided

	freed []chan struct{} // each signals that heartbeats are over, and the leases free to be written about

	suspects [mostSuspect + 1]int // undecided, by how suspect they are

	size, buffered, running atomic.Int64  // for the fetcher's arithmetic, without the lock
	inAckWork               atomic.Int64  // that have ack work
	ackWorkOver             chan struct{} // signals that none has any more
	bytes                   atomic.Int64  // of bodies and headers
}

func newHeld(c *company) *held {
	return &held{deliveries: map[*delivery]struct{}{}, company: c, ackWorkOver: make(chan struct{}, 1)}
}

func (h *held) add(deliveries []*delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		h.deliveries[d] = struct{}{}
		h.bytes.Add(d.bytes())
		if d.stage == buffered {
			h.buffered.Add(1)
			h.suspects[d.suspicion()]++
		}
	}
	h.size.Store(int64(len(h.deliveries)))
}

// admit notes that a buffered delivery has joined the company. It says false when its lease has been lost meanwhile.
func (h *held) admit(d *delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.member = true
	if d.stage != buffered {
		h.leaveCompanyLocked(d)
	}
	return d.member
}

// stayInCompany makes a delivery that is worked on a member until its end has been written, beyond the end of its handler.
func (h *held) stayInCompany(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stays = true
}

// leaveCompany ends a delivery's membership, if it has not ended yet.
func (h *held) leaveCompany(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveCompanyLocked(d)
}

func (h *held) leaveCompanyLocked(d *delivery) {
	if d.member {
		d.member = false
		h.company.leave(d.suspicion())
	}
}

// start gives a buffered delivery to a worker, which is to cancel through cancel. It is refused when the lease has been lost
// meanwhile.
func (h *held) start(d *delivery, now, deadline time.Time, known bool, cancel context.CancelCauseFunc) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stage != buffered {
		return false
	}
	d.stage, d.started, d.deadline, d.known, d.stays, d.cancel = running, now, deadline, known, known, cancel
	h.buffered.Add(-1)
	h.running.Add(1)
	return true
}

// inFlight is how many deliveries are worked on: their handlers run, or their ack work waits or is being done.
func (h *held) inFlight() int { return int(h.running.Load() + h.inAckWork.Load()) }

// beginAckWork notes that a delivery that is being acked has ack work. It is over when the delivery ends otherwise or
// for good.
func (h *held) beginAckWork(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stage == acking && !d.inAckWork {
		d.inAckWork = true
		h.inAckWork.Add(1)
	}
}

func (h *held) endAckWorkLocked(d *delivery) {
	if !d.inAckWork {
		return
	}
	d.inAckWork = false
	if h.inAckWork.Add(-1) == 0 {
		signal(h.ackWorkOver)
	}
}

// awaitAckWork waits until no delivery has any.
func (h *held) awaitAckWork() {
	for h.inAckWork.Load() > 0 {
		<-h.ackWorkOver
	}
}

// decide moves a delivery to its end (acking or leaving). Only the first to call it may settle the delivery. One whose lease belongs to
// somebody else by now is settled, too: the lease check refuses it, and its order's history learns who came too late.
func (h *held) decide(d *delivery, to stage) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.decideLocked(d, to)
}

func (h *held) decideLocked(d *delivery, to stage) (first bool) {
	switch d.stage {
	case buffered:
		h.buffered.Add(-1)
	case running:
		h.running.Add(-1)
	default:
		return false
	}
	h.suspects[d.suspicion()]--
	if !d.stays {
		h.leaveCompanyLocked(d)
	}
	d.stage = to
	return true
}

// change turns an ack that cannot be written into something else, so that its lease is no longer extended.
func (h *held) change(d *delivery, to stage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stage == acking || d.stage == leaving {
		d.stage = to
	}
	if to == leaving {
		h.endAckWorkLocked(d)
	}
}

// drop forgets a delivery whose lease has ended.
func (h *held) drop(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked(d)
}

func (h *held) dropLocked(d *delivery) {
	d.stage = gone
	h.endAckWorkLocked(d)
	h.leaveCompanyLocked(d)
	if _, held := h.deliveries[d]; held {
		h.bytes.Add(-d.bytes())
	}
	delete(h.deliveries, d)
	h.size.Store(int64(len(h.deliveries)))
}

// mostSuspect is how suspect the most suspect delivery is that waits or is worked on.
func (h *held) mostSuspect() suspicion {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := mostSuspect; s > 0; s-- {
		if h.suspects[s] > 0 {
			return s
		}
	}
	return 0
}

// expired says whether a delivery's lease may have run out.
func (h *held) expired(d *delivery, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(d.until)
}

// lose notes that another consumer has a delivery's lease and cancels its handler. It says false when that is no news:
// the delivery has been decided meanwhile, and whoever settles it will find out.
func (h *held) lose(d *delivery, cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch d.stage {
	case buffered:
		h.buffered.Add(-1)
		h.suspects[d.suspicion()]--
		h.dropLocked(d)
		return true
	case running:
		if d.lost {
			return false
		}
		d.lost = true
		d.cancel(cause)
		return true
	default:
		return false
	}
}

// expire cancels, once, the handlers whose lease has run out without our being able to extend it.
func (h *held) expire(now time.Time, cause error) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*delivery
	for d := range h.deliveries {
		if d.stage == running && !d.warned && !now.Before(d.until) {
			d.warned = true
			d.cancel(cause)
			found = append(found, d)
		}
	}
	return found
}

// abandon decides the deliveries whose handler is still running grace after its deadline, or all that run when now is zero.
// Their workers stay occupied until the handlers return. What it returns is to be settled.
func (h *held) abandon(now time.Time, grace time.Duration) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*delivery
	for d := range h.deliveries {
		if d.stage == running && (now.IsZero() || now.Sub(d.deadline) >= grace) {
			h.stuck++
			h.decideLocked(d, leaving)
			found = append(found, d)
		}
	}
	return found
}

// returned notes that the handler of an abandoned delivery has come back after all.
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
