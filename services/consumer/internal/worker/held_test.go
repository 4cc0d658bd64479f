package worker

import (
	"testing"
	"time"
)

// holding returns a set that holds one lease in a stage.
func holding(s stage, now, until time.Time) (*held, *delivery) {
	h := newHeld()
	d := &delivery{stage: s, until: until, renew: renewal(now, until)}
	h.add([]*delivery{d})
	return h, d
}

func TestALeaseIsExtendedUntilItsEndIsDecidedOrWritten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		stage  stage
		lost   bool
		extend bool
	}{
		"waiting for a worker":         {stage: buffered, extend: true},
		"at work":                      {stage: running, extend: true},
		"at work, lost":                {stage: running, lost: true},
		"done, its ack is not written": {stage: acking, extend: true},
		"to be delayed or handed back": {stage: leaving},
	} {
		h, d := holding(test.stage, now, now.Add(time.Minute))
		d.lost = test.lost
		if got := h.expiring(now.Add(31 * time.Second)); (len(got) == 1) != test.extend {
			t.Errorf("%s: %d of 1 leases are to be extended", name, len(got))
		}
		if got := h.extending([]*delivery{d}); (len(got) == 1) != test.extend {
			t.Errorf("%s: %d of 1 leases are extended", name, len(got))
		}
	}
}

func TestALeaseThatIsFreshIsNotExtendedAgain(t *testing.T) {
	t.Parallel()
	l := lease{visible: time.Second}
	for _, took := range []time.Duration{0, 100 * time.Millisecond, 1200 * time.Millisecond, 20 * time.Second} {
		l.took = took
		sent := time.Now()
		arrived := sent.Add(took)
		until := sent.Add(l.length())
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
	h, d := holding(acking, now, now.Add(time.Minute))
	ack := []outcome{{delivery: d}}
	freed := h.whenFreed()

	beating := h.extending([]*delivery{d})
	if claimed, taken := h.settling(ack); len(claimed) != 0 || len(taken) != 1 {
		t.Fatal("it is acked in the middle of its heartbeat")
	}
	select {
	case <-freed:
		t.Fatal("the heartbeat is not over")
	default:
	}
	h.extended(beating, nil, now, now)
	select {
	case <-freed:
	default:
		t.Fatal("nobody says that the heartbeat is over")
	}
	if claimed, _ := h.settling(ack); len(claimed) != 1 {
		t.Fatal("it is not acked after its heartbeat")
	}
	due := now.Add(time.Hour)
	if len(h.expiring(due)) != 0 || len(h.extending([]*delivery{d})) != 0 {
		t.Fatal("it is extended under its own ack")
	}
	h.settled(ack)
	if len(h.expiring(due)) != 1 {
		t.Fatal("an ack that could not be written ends the extending")
	}
}
