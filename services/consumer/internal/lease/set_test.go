package lease

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// holding returns a set that holds one lease in a stage.
func holding(s Stage, now, until time.Time) (*Set, *Delivery) {
	h := NewSet(30)
	d := &Delivery{until: until, renew: renewal(now, until)}
	h.add([]*Delivery{d}, s)
	return h, d
}

func TestALeaseIsExtendedUntilItsEndIsDecidedOrWritten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		stage  Stage
		lost   bool
		extend bool
	}{
		"waiting for a worker":         {stage: buffered, extend: true},
		"at work":                      {stage: running, extend: true},
		"at work, lost":                {stage: running, lost: true},
		"done, its ack is not written": {stage: Acking, extend: true},
		"to be delayed or handed back": {stage: Leaving},
	} {
		h, d := holding(test.stage, now, now.Add(time.Minute))
		d.lost = test.lost
		if got := h.expiring(now.Add(31 * time.Second)); (len(got) == 1) != test.extend {
			t.Errorf("%s: %d of 1 leases are to be extended", name, len(got))
		}
		if got := h.claimForHeartbeat([]*Delivery{d}); (len(got) == 1) != test.extend {
			t.Errorf("%s: %d of 1 leases are extended", name, len(got))
		}
	}
}

func TestALeaseThatIsFreshIsNotExtendedAgain(t *testing.T) {
	t.Parallel()
	l := Term{visible: time.Second}
	for _, took := range []time.Duration{0, 100 * time.Millisecond, 1200 * time.Millisecond, 20 * time.Second} {
		l.took = took
		sent := time.Now()
		arrived := sent.Add(took)
		until := sent.Add(l.Length())
		h, d := holding(buffered, arrived, until)
		if got := h.expiring(arrived); len(got) != 0 {
			t.Errorf("%s: extended again at once", took)
		}
		rest := until.Sub(arrived)
		if d.renew.Before(arrived.Add(rest/2)) || until.Sub(d.renew) < took+took/2 {
			t.Errorf("%s: of a lease of %s extended after %s, with %s left for it", took, rest, d.renew.Sub(arrived), until.Sub(d.renew))
		}
		if got := h.expiring(d.renew); len(got) != 1 {
			t.Errorf("%s: not extended when half of it is over", took)
		}
	}
	// One that has run out before we heard of it is.
	now := time.Now()
	h, _ := holding(running, now, now.Add(-time.Second))
	if len(h.expiring(now)) != 1 {
		t.Error("a lease that has run out is not extended")
	}
}

func TestOnlyOneWritesAboutALeaseAtATime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h, d := holding(Acking, now, now.Add(time.Minute))
	ack := []*Delivery{d}
	freed := h.WhenFreed()

	beating := h.claimForHeartbeat([]*Delivery{d})
	if taken := h.ClaimForSettling(ack); !taken[d] {
		t.Fatal("it is acked in the middle of its heartbeat")
	}
	select {
	case <-freed:
		t.Fatal("the heartbeat is not over")
	default:
	}
	h.heartbeatDone(beating, nil, now, now)
	select {
	case <-freed:
	default:
		t.Fatal("nobody says that the heartbeat is over")
	}
	if taken := h.ClaimForSettling(ack); len(taken) != 0 {
		t.Fatal("it is not acked after its heartbeat")
	}
	due := now.Add(time.Hour)
	if len(h.expiring(due)) != 0 || len(h.claimForHeartbeat([]*Delivery{d})) != 0 {
		t.Fatal("it is extended under its own ack")
	}
	h.ReleaseClaims(ack)
	if len(h.expiring(due)) != 1 {
		t.Fatal("an ack that could not be written ends the extending")
	}
}

// Who is alone is so until its end is written: else the next one could kill the consumer while this one's answer is under way. Everybody
// else makes room when the handler is over, or has been given up.
func TestWhoWasAloneMakesRoomWhenItsEndIsWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		known, stays, lost, abandoned bool
		leaves                        bool // before its end is written
	}{
		"no suspect":          {leaves: true},
		"lost":                {lost: true, leaves: true},
		"given up":            {abandoned: true, leaves: true},
		"lost and given up":   {lost: true, abandoned: true, leaves: true},
		"alone":               {known: true},
		"alone, and lost":     {known: true, lost: true},
		"alone, and given up": {known: true, abandoned: true},
		"with work in the transaction of its ack": {stays: true},
	} {
		now := time.Now()
		h, d := holding(buffered, now, now.Add(time.Minute))
		if !h.Admit(d) || !h.Start(d, time.Now(), now, test.known, func(error) {}) {
			t.Fatal("it is not started")
		}
		d.lost = test.lost
		switch {
		case test.abandoned:
			h.abandon(now.Add(time.Hour), time.Second)
		case test.stays:
			h.DecideAckWork(d)
		default:
			h.Decide(d, Acking)
		}
		if got := h.company.members[0] == 0; got != test.leaves {
			t.Errorf("%s: has left %t before its end is written", name, got)
		}
		h.Drop(d)
		if left := h.company.members[0]; left != 0 {
			t.Errorf("%s: counts %d in the end", name, left)
		}
	}
	now := time.Now()
	lost, d := holding(buffered, now, now.Add(time.Minute))
	lost.lose(d, nil)
	if lost.Admit(d) || lost.company.members[0] != 0 {
		t.Error("what has been lost is admitted")
	}
	over, d := holding(buffered, now, now.Add(-time.Second))
	if over.Admit(d) || over.company.members[0] != 0 {
		t.Error("what somebody else may have read by now is admitted")
	}
}

// Beside a handler that does not come back nothing is alone: either could be what kills the process.
func TestBesideAHandlerThatDoesNotComeBackNobodyIsAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := NewSet(8)
	stuck, suspect := &Delivery{until: now.Add(time.Hour)}, &Delivery{Message: message.Message{Unanswered: 5}, until: now.Add(time.Hour)}
	h.Add([]*Delivery{stuck, suspect})
	if !h.Admit(stuck) || !h.Start(stuck, now, now, false, func(error) {}) || len(h.AbandonAll()) != 1 {
		t.Fatal("it is not given up")
	}
	if !h.Admit(suspect) || h.Alone(suspect) {
		t.Error("the suspect is not admitted, or is said to be alone beside the one that is stuck")
	}
	h.Returned()
	if !h.Alone(suspect) {
		t.Error("it is not alone when the other one has returned")
	}
}

// One suspect that has had its end, or is somebody else's, makes reads no smaller.
func TestTheMostSuspectIsOneWhoseEndIsOpen(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(h *Set, d *Delivery) bool{
		"decided": func(h *Set, d *Delivery) bool { return h.Decide(d, Leaving) },
		"lost":    func(h *Set, d *Delivery) bool { return h.lose(d, nil) },
	} {
		h, d := NewSet(30), &Delivery{Message: message.Message{Unanswered: 2}}
		h.Add([]*Delivery{d})
		if got := h.Counts().MostSuspect; got != 2 {
			t.Errorf("%s: the most suspect is %d before", name, got)
		}
		if !ends(h, d) {
			t.Errorf("%s: it is not", name)
		}
		if got := h.Counts().MostSuspect; got != 0 {
			t.Errorf("%s: the most suspect is %d afterwards", name, got)
		}
	}
}

// A lease counts from before its statement was sent: the database's clock began somewhere in between. It is extended when half of what is left of
// it is over when we hear of it.
func TestALeaseCountsFromBeforeItWasAskedFor(t *testing.T) {
	t.Parallel()
	sent := time.Now()
	d := New(&message.Message{}, sent, sent.Add(2*time.Second), 10*time.Second)
	if until, renew := d.until.Sub(sent), d.renew.Sub(sent); until != 10*time.Second || renew != 6*time.Second {
		t.Errorf("it lasts until %s after it was asked for, and is extended after %s", until, renew)
	}
}

// What a consumer tells of its times is the database's time of the read, and what has passed since: its own clock may be hours off.
func TestTheStampsAreTheDatabases(t *testing.T) {
	read := time.Now()
	leased := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	d := &Delivery{Message: message.Message{Leased: message.InstantOf(leased)}, read: read}
	if got, want := d.Stamp(read.Add(2*time.Second)), message.InstantOf(leased.Add(2*time.Second)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := d.Stamp(time.Time{}); got != (message.Instant{}) {
		t.Errorf("what did not happen was at %s", got)
	}
	d.Message.Leased = message.Instant{} // a trigger's doing
	if got := d.Stamp(read); got != (message.Instant{}) {
		t.Errorf("%s, of a read at an unknown time", got)
	}
}
