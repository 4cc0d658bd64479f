package worker

import (
	"log/slog"
	"sync"
	"time"
)

// lease decides how long leases are asked for: for the visibility timeout, and, where reading or extending takes a good part of
// that, for as much longer. A lease counts from before its statement was sent; on a slow disk or a far network messages would
// otherwise arrive expired, and be read again and again without anybody ever working on them.
type lease struct {
	visible time.Duration
	log     *slog.Logger

	mu   sync.Mutex
	took time.Duration // by the last statement that got or extended leases; zero when it is not worth noting
}

// worthNoting is the part of the visibility timeout that a statement may take without leases being made longer.
const worthNoting = 8

// note tells how long it took to get leases, or to extend them.
func (l *lease) note(took time.Duration) {
	if took < l.visible/worthNoting {
		took = 0
	}
	l.mu.Lock()
	before := l.took
	l.took = took
	l.mu.Unlock()
	switch {
	case before == 0 && took > 0:
		l.log.Warn("the database is slow compared with VT: leases are made longer, so the messages of a consumer that dies come back later",
			"took", took.Round(time.Millisecond).String(), "vt", l.visible.String(), "longer_by", l.longer().Round(time.Millisecond).String())
	case before > 0 && took == 0:
		l.log.Info("the database is quick enough for VT again")
	}
}

// longer is what leases last beyond the visibility timeout: once for the statement that gets them, the rest so that half of what
// remains is enough for one that takes half as long again, and as long in between for others to have the message's row.
func (l *lease) longer() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 4 * l.took
}

// length is how long a lease is asked for now.
func (l *lease) length() time.Duration { return l.visible + l.longer() }

// renewal is when to extend a lease that we hear of now and that lasts until then: when half of what is left of it is over, which
// leaves the other half to try again. However slow the database is, a lease is never extended again as soon as it is there.
func renewal(now, until time.Time) time.Time {
	return now.Add(max(until.Sub(now), 0) / 2)
}
