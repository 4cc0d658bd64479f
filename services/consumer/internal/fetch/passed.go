package fetch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"orderflow.example/services/consumer/internal/queue"
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
	// suppressedPause is how long a message is passed over that a trigger silently keeps from being leased, at least.
	suppressedPause = time.Second
	// spoiledPause is how long one is passed over that makes reads fail for what its row holds: each time that it is tried again, reads are halved
	// until it is found. It is the longest pause.
	spoiledPause = 5 * time.Minute
	// failedPauseReads is for how many times as long as the read took one is passed over that made it fail for another reason, which may concern all
	// of them and be over soon: to find it again may take a dozen such reads.
	failedPauseReads = 40
	// passedMore is the part of a pause that it is longer for each other one that is passed over: at worst all are found by reads of one message,
	// and the first is not to be tried again before the last is found.
	passedMore = 10
	// mostPassed bounds them, and so what a read has to bring along.
	mostPassed = 1000
)

func newPassed(now func() time.Time) passed { return passed{now: now, all: map[int64]obstacle{}} }

// add has a message passed over for a pause, and somewhat longer where there are others, if there is room for another.
func (p passed) add(id int64, pause time.Duration, why string) (added bool) {
	if len(p.all) >= mostPassed {
		return false
	}
	pause = min(pause+time.Duration(len(p.all))*pause/passedMore, spoiledPause)
	p.all[id] = obstacle{p.now().Add(pause), why}
	return true
}

// failed has a message passed over for which a read has failed that took so long.
func (p passed) failed(id int64, err error, took time.Duration) (added bool) {
	pause := spoiledPause
	if queue.Classify(err) != queue.Spoiled {
		pause = max(suppressedPause, min(failedPauseReads*took, spoiledPause))
	}
	return p.add(id, pause, err.Error())
}

// suppressed has messages passed over that could not be leased. It says whether there was room for any.
func (p passed) suppressed(ids []int64, pause time.Duration) (added bool) {
	for _, id := range ids {
		added = p.add(id, pause, "a row-level trigger on the queue's table suppresses the update (`consumer doctor` names the triggers that may do that)") || added
	}
	return added
}

// soonest is when the next one is to be tried again; false: none is passed over.
func (p passed) soonest() (in time.Duration, some bool) {
	for _, o := range p.all {
		if left := o.until.Sub(p.now()); !some || left < in {
			in, some = left, true
		}
	}
	return in, some
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
