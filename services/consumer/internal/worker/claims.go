package worker

import "time"

// claimant is a part that writes about leases. Only one at a time writes about the same lease: a heartbeat holds the message's row
// until it has committed, and where that takes long, an ack beside it would find the row locked time and again.
type claimant int

const (
	unclaimed claimant = iota
	byHeartbeat
	bySettler
)

// expiring returns the deliveries whose leases are to be extended now.
func (h *held) expiring(now time.Time) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*delivery
	for d := range h.deliveries {
		if d.extendable() && !now.Before(d.renew) {
			found = append(found, d)
		}
	}
	return found
}

func (d *delivery) extendable() bool { return d.stage <= acking && !d.lost && d.claimedBy == unclaimed }

// claimForHeartbeat returns those of deliveries that may still be extended, and keeps the settler from them until heartbeatDone is called.
func (h *held) claimForHeartbeat(deliveries []*delivery) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var claimed []*delivery
	for _, d := range deliveries {
		if d.extendable() {
			d.claimedBy = byHeartbeat
			claimed = append(claimed, d)
		}
	}
	return claimed
}

// heartbeatDone notes that the heartbeat of deliveries is over. Those in confirmed hold until then.
func (h *held) heartbeatDone(deliveries, confirmed []*delivery, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range confirmed {
		d.until, d.renew = until, renewal(now, until)
	}
	for _, d := range deliveries {
		d.claimedBy = unclaimed
	}
	for _, c := range h.freed {
		signal(c)
	}
}

// whenFreed returns a channel of the caller's own that signals when heartbeats are over.
func (h *held) whenFreed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	h.freed = append(h.freed, c)
	return c
}

// claimForSettling keeps the heartbeat from what is to be settled, until releaseClaims is called. What the heartbeat is at just now is left to it.
func (h *held) claimForSettling(batch []outcome) (claimed, taken []outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	claimed = make([]outcome, 0, len(batch))
	for _, o := range batch {
		if o.delivery.claimedBy == byHeartbeat {
			taken = append(taken, o)
			continue
		}
		o.delivery.claimedBy = bySettler
		claimed = append(claimed, o)
	}
	return claimed, taken
}

// renewed notes that whoever settles deliveries has extended their leases until then.
func (h *held) renewed(deliveries []*delivery, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		d.until, d.renew = until, renewal(now, until)
	}
}

// ending returns the deliveries of a batch whose leases end before then.
func (h *held) ending(batch []outcome, then time.Time) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*delivery
	for _, o := range batch {
		if o.delivery.until.Before(then) {
			found = append(found, o.delivery)
		}
	}
	return found
}

// releaseClaims lets the heartbeat have again what could not be settled.
func (h *held) releaseClaims(batch []outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range batch {
		o.delivery.claimedBy = unclaimed
	}
}
