package lease

import (
	"time"

	"orderflow.example/services/consumer/internal/signal"
)

// claimant is a part that writes about leases. Only one at a time writes about the same lease: a heartbeat holds the message's row
// until it has committed, and where that takes long, an ack beside it would find the row locked time and again.
type claimant int

const (
	unclaimed claimant = iota
	byHeartbeat
	bySettler
)

// expiring returns the deliveries whose leases are to be extended now.
func (h *Set) expiring(now time.Time) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Delivery
	for d := range h.deliveries {
		if d.extendable() && !now.Before(d.renew) {
			found = append(found, d)
		}
	}
	return found
}

func (d *Delivery) extendable() bool { return d.stage <= Acking && !d.lost && d.claimedBy == unclaimed }

// claimForHeartbeat returns those of deliveries that may still be extended, and keeps the settler from them until heartbeatDone is called.
func (h *Set) claimForHeartbeat(deliveries []*Delivery) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var claimed []*Delivery
	for _, d := range deliveries {
		if d.extendable() {
			d.claimedBy = byHeartbeat
			claimed = append(claimed, d)
		}
	}
	return claimed
}

// heartbeatDone notes that the heartbeat of deliveries is over. Those in confirmed hold until then.
func (h *Set) heartbeatDone(deliveries, confirmed []*Delivery, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	renew(confirmed, now, until)
	for _, d := range deliveries {
		d.claimedBy = unclaimed
	}
	for _, s := range h.freed {
		s.Send()
	}
}

// WhenFreed returns a signal of the caller's own that heartbeats are over.
func (h *Set) WhenFreed() signal.Signal {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := signal.New()
	h.freed = append(h.freed, s)
	return s
}

// ClaimForSettling keeps the heartbeat from deliveries that are to be settled, until ReleaseClaims is called. It returns those that the
// heartbeat is busy with, as a rule none: the caller claims them again when WhenFreed signals.
func (h *Set) ClaimForSettling(deliveries []*Delivery) (taken map[*Delivery]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		if d.claimedBy != byHeartbeat {
			d.claimedBy = bySettler
			continue
		}
		if taken == nil {
			taken = map[*Delivery]bool{}
		}
		taken[d] = true
	}
	return taken
}

// ReleaseClaims lets the heartbeat have again what could not be settled.
func (h *Set) ReleaseClaims(deliveries []*Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		d.claimedBy = unclaimed
	}
}

// renewed notes that whoever settles deliveries has extended their leases until then.
func (h *Set) renewed(deliveries []*Delivery, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	renew(deliveries, now, until)
}

func renew(deliveries []*Delivery, now, until time.Time) {
	for _, d := range deliveries {
		d.until, d.renew = until, renewal(now, until)
	}
}

// endingBefore returns those deliveries whose leases end before then.
func (h *Set) endingBefore(deliveries []*Delivery, then time.Time) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Delivery
	for _, d := range deliveries {
		if d.until.Before(then) {
			found = append(found, d)
		}
	}
	return found
}
