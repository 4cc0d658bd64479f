package lease

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/signal"
)

// Set is the set of leases that we hold: the one place that knows which stage each delivery is in. Who ends a delivery is decided
// once, by whoever moves it out of buffered or running first: its worker, the fetcher that hands it back, the deadline, or the drain.
type Set struct {
	size atomic.Int64 // of deliveries, for who asks often

	mu         sync.Mutex
	deliveries map[*Delivery]struct{}
	company    *company
	buffered   int
	running    int
	inAckWork  int
	stuck      int // workers whose handler goes on after its delivery has been decided
	bytes      int64
	suspects   [mostSuspect + 1]int // undecided, by how suspect they are

	freed       []signal.Signal // each signals that heartbeats are over, and the leases free to be written about
	ackWorkOver signal.Signal   // signals that none has ack work any more
}

// NewSet is empty. At most so many deliveries are worked on beside each other.
func NewSet(concurrency int) *Set {
	return &Set{deliveries: map[*Delivery]struct{}{}, company: newCompany(concurrency), ackWorkOver: signal.New()}
}

// Counts are how many deliveries there are, at one moment.
type Counts struct {
	Held        int // all of them
	Buffered    int // that wait for a worker
	InFlight    int // that are worked on: their handlers run, or their ack work waits or is being done
	Stuck       int // workers that a handler keeps although its delivery has been given up
	Bytes       int64
	MostSuspect Suspicion // of those that wait or are worked on
}

// Counts counts what is held.
func (h *Set) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := Counts{Held: len(h.deliveries), Buffered: h.buffered, InFlight: h.running + h.inAckWork, Stuck: h.stuck, Bytes: h.bytes}
	for s := mostSuspect; s > 0 && c.MostSuspect == 0; s-- {
		if h.suspects[s] > 0 {
			c.MostSuspect = s
		}
	}
	return c
}

// Size is how many deliveries are held.
func (h *Set) Size() int { return int(h.size.Load()) }

// Add takes charge of deliveries that are to be worked on.
func (h *Set) Add(deliveries []*Delivery) { h.add(deliveries, buffered) }

// AddLeaving takes charge of deliveries that no worker will have. The caller settles them.
func (h *Set) AddLeaving(deliveries []*Delivery) { h.add(deliveries, Leaving) }

func (h *Set) add(deliveries []*Delivery, as Stage) {
	if len(deliveries) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		d.stage = as
		h.deliveries[d] = struct{}{}
		h.bytes += d.bytes()
		if as == buffered {
			h.buffered++
			h.suspects[d.Suspicion()]++
		}
	}
	h.size.Store(int64(len(h.deliveries)))
}

// Admit waits until a buffered delivery may be worked on beside those that are. It says false when that will not be, because its lease has
// been lost or has run out, or nobody is admitted any more: it is to be handed back.
func (h *Set) Admit(d *Delivery) bool {
	if !h.company.join(d.Suspicion()) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d.member = true
	if d.stage != buffered || !time.Now().Before(d.until) {
		h.leaveCompanyLocked(d)
	}
	return d.member
}

// AdmitNobody sends away who waits to be admitted, and whoever comes.
func (h *Set) AdmitNobody() { h.company.close() }

// Alone says whether nothing else is worked on beside a delivery that has been admitted. Beside a handler that does not come back nothing is
// alone.
func (h *Set) Alone(d *Delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return d.Suspicion().alone(h.company.concurrency) && h.stuck == 0
}

// AdmitBeside lets others be admitted as if a delivery were not worked on: its end cannot be written for a while.
func (h *Set) AdmitBeside(d *Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveCompanyLocked(d)
}

func (h *Set) leaveCompanyLocked(d *Delivery) {
	if d.member {
		d.member = false
		h.company.leave(d.Suspicion())
	}
}

// Start gives a buffered delivery to a worker, whose handler is cancelled through cancel. known says that the start has been made known. It
// is refused when the lease has been lost meanwhile.
func (h *Set) Start(d *Delivery, now, deadline time.Time, known bool, cancel context.CancelCauseFunc) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stage != buffered {
		return false
	}
	d.stage, d.started, d.deadline, d.known, d.stays, d.cancel = running, now, deadline, known, known, cancel
	h.buffered--
	h.running++
	return true
}

// Decide moves a delivery to its end, Acking or Leaving. Only the first to call it may settle the delivery. One whose lease belongs to
// somebody else by now is settled, too: the lease check refuses it, and its order's history learns who came too late.
func (h *Set) Decide(d *Delivery, to Stage) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.decideLocked(d, to)
}

// DecideAckWork is Decide for an ack that has work to be done in its transaction. Until that is over the delivery is in flight, and stays in
// the company.
func (h *Set) DecideAckWork(d *Delivery) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stays = true
	if !h.decideLocked(d, Acking) {
		return false
	}
	d.inAckWork = true
	h.inAckWork++
	return true
}

func (h *Set) decideLocked(d *Delivery, to Stage) (first bool) {
	switch d.stage {
	case buffered:
		h.buffered--
	case running:
		h.running--
	default:
		return false
	}
	h.suspects[d.Suspicion()]--
	if !d.stays {
		h.leaveCompanyLocked(d)
	}
	d.stage = to
	return true
}

// Redecide is for a delivery whose end was decided and cannot be written: it is Leaving from now on, and its ack work is over. The caller
// settles it by another end.
func (h *Set) Redecide(d *Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stage == Acking {
		d.stage = Leaving
	}
	h.endAckWorkLocked(d)
}

func (h *Set) endAckWorkLocked(d *Delivery) {
	if !d.inAckWork {
		return
	}
	d.inAckWork = false
	if h.inAckWork--; h.inAckWork == 0 {
		h.ackWorkOver.Send()
	}
}

// AwaitAckWork waits until no delivery has ack work.
func (h *Set) AwaitAckWork() {
	for h.withAckWork() > 0 {
		<-h.ackWorkOver
	}
}

func (h *Set) withAckWork() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inAckWork
}

// Drop forgets a delivery whose lease has ended.
func (h *Set) Drop(d *Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked(d)
}

func (h *Set) dropLocked(d *Delivery) {
	d.stage = gone
	h.endAckWorkLocked(d)
	h.leaveCompanyLocked(d)
	if _, held := h.deliveries[d]; held {
		h.bytes -= d.bytes()
	}
	delete(h.deliveries, d)
	h.size.Store(int64(len(h.deliveries)))
}

// lose notes that another consumer has a delivery's lease and cancels its handler. It says false when that is no news:
// the delivery has been decided meanwhile, and whoever settles it will find out.
func (h *Set) lose(d *Delivery, cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch d.stage {
	case buffered:
		h.buffered--
		h.suspects[d.Suspicion()]--
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
func (h *Set) expire(now time.Time, cause error) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Delivery
	for d := range h.deliveries {
		if d.stage == running && !d.warned && !now.Before(d.until) {
			d.warned = true
			d.cancel(cause)
			found = append(found, d)
		}
	}
	return found
}

// abandon decides the deliveries whose handler is still running grace after its deadline.
func (h *Set) abandon(now time.Time, grace time.Duration) []*Delivery {
	return h.abandonWhere(func(d *Delivery) bool { return now.Sub(d.deadline) >= grace })
}

// AbandonAll decides the deliveries whose handlers still run. The caller settles them. Their workers stay occupied until the handlers return.
func (h *Set) AbandonAll() []*Delivery { return h.abandonWhere(func(*Delivery) bool { return true }) }

func (h *Set) abandonWhere(late func(*Delivery) bool) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Delivery
	for d := range h.deliveries {
		if d.stage == running && late(d) {
			h.stuck++
			h.decideLocked(d, Leaving)
			found = append(found, d)
		}
	}
	return found
}

// Returned notes that the handler of an abandoned delivery has come back after all.
func (h *Set) Returned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck--
}
