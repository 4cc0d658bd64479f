package lease

import (
	"log/slog"
	"sync"
	"time"
)

// Term decides how long leases are asked for: for the visibility timeout, and, where reading or extending takes a good part of
// that, for as much longer. A lease counts from before its statement was sent; on a slow disk or a far network messages would
// otherwise arrive expired, and be read again and again without anybody ever working on them.
type Term struct {
	visible time.Duration
	log     *slog.Logger

	mu   sync.Mutex
	took time.Duration // by the last statement that got or extended leases; zero when it is not worth noting
}

// NewTerm makes leases last for visible, the visibility timeout, or longer.
func NewTerm(visible time.Duration, log *slog.Logger) *Term { return &Term{visible: visible, log: log} }

// worthNoting is the part of the visibility timeout that a statement may take without leases being made longer.
const worthNoting = 8

// Note tells how long it took to get leases, or to extend them.
func (t *Term) Note(took time.Duration) {
	if took < t.visible/worthNoting {
		took = 0
	}
	t.mu.Lock()
	before := t.took
	t.took = took
	t.mu.Unlock()
	switch {
	case before == 0 && took > 0:
		t.log.Warn("the database is slow compared with VT: leases are made longer, so the messages of a consumer that dies come back later",
			"took", took.Round(time.Millisecond).String(), "vt", t.visible.String(), "longer_by", t.longer().Round(time.Millisecond).String())
	case before > 0 && took == 0:
		t.log.Info("the database is quick enough for VT again")
	}
}

// longer is what leases last beyond the visibility timeout, in times that a statement takes. One is over when the lease is heard of. Of the other three
// half has passed at the renewal: what is left is enough for an extension that takes half as long again. And in the half before, others can have the
// message's row.
func (t *Term) longer() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return 4 * t.took
}

// Length is how long a lease is asked for now.
func (t *Term) Length() time.Duration { return t.visible + t.longer() }

// renewal is when to extend a lease that we hear of now and that lasts until then: when half of what is left of it is over, which
// leaves the other half to try again. However slow the database is, a lease is never extended again as soon as it is there.
func renewal(now, until time.Time) time.Time {
	return now.Add(max(until.Sub(now), 0) / 2)
}
