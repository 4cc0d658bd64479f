package fetch

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// passed are messages that are due and cannot be leased, with what somebody has done to the queue's table. Reads pass them over for a while, since
// each read would begin with them, and bring nothing else once they are as many as it asks for.
type passed struct {
	now func() time.Time
	all map[int64]obstacle // by msg_id
}

type obstacle struct {
	until time.Time
	why   string
}

const (
	// suppressedPause is how long a message is passed over that a trigger silently keeps from being leased, with so much more for each other
	// one: at worst they are found by reads of one message.
	suppressedPause     = time.Second
	suppressedPauseEach = 100 * time.Millisecond
	// spoiledPause is how long one is passed over that makes reads fail: each time that it is tried again, reads are halved until it is found.
	spoiledPause = 5 * time.Minute
	// mostPassed bounds them, and so what a read has to bring along.
	mostPassed = 1000
)

func newPassed(now func() time.Time) passed { return passed{now: now, all: map[int64]obstacle{}} }

// add has a message passed over, if there is room for another.
func (p passed) add(id int64, pause time.Duration, why string) (added bool) {
	if len(p.all) >= mostPassed {
		return false
	}
	p.all[id] = obstacle{p.now().Add(pause), why}
	return true
}

// suppressed has messages passed over that could not be leased. It says whether there was room for any.
func (p passed) suppressed(ids []int64, pause time.Duration) (added bool) {
	for _, id := range ids {
		pause := max(pause, suppressedPause+time.Duration(len(p.all))*suppressedPauseEach)
		added = p.add(id, pause, "a row-level trigger on the queue's table suppresses the update (`consumer doctor` names the triggers that may do that)") || added
	}
	return added
}

// ids are those that are passed over now.
func (p passed) ids() []int64 {
	now := p.now()
	maps.DeleteFunc(p.all, func(_ int64, o obstacle) bool { return !now.Before(o.until) })
	return slices.Sorted(maps.Keys(p.all))
}

// describe says which cannot be leased, and why; empty when there are none.
func (p passed) describe() string {
	if len(p.all) == 0 {
		return ""
	}
	ids := slices.Sorted(maps.Keys(p.all))
	return fmt.Sprintf("%d due messages cannot be leased (msg_id %d is one): %s", len(ids), ids[0], p.all[ids[0]].why)
}
