package fetch

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

const (
	// readsAhead is how far ahead the adaptive prefetch plans, in round trips of a read: no worker runs dry while the next read is under
	// way, and no message waits here much longer, since what waits here no other consumer can have.
	readsAhead = 8
	// longestAhead bounds that, should reads be slow: much shorter than any visibility timeout.
	longestAhead = 250 * time.Millisecond
	// mostRead is what a read grows to. Beyond a thousand the gain is small.
	mostRead = 1000
	// longestWait is for how long what has been read may wait for a worker. Handlers that have become slow leave more than that, and the rest
	// is handed back.
	longestWait = time.Second
)

// Limits are what the settings say of how much to fetch.
type Limits struct {
	Batch        int // messages of one read at most; 0: adaptive
	Concurrency  int
	Prefetch     int   // messages that may wait for a worker; 0: adaptive
	HeldBytes    int64 // of bodies and headers in memory; a single message may go beyond it
	MessageBytes int32 // of one message; a larger one is not read
}

// Demand decides how many messages to fetch: enough that no worker waits for the database, no more than will be worked on
// soon, because what we hold no other consumer can have.
type Demand struct {
	limits   Limits
	mostHeld int // leases, whatever stage they are in: bounds memory when nothing can be written back

	// Sums since it has last learned, by the workers. All else is the fetcher's alone.
	spent, count atomic.Int64
	perMessage   time.Duration
	known        bool
	roundTrip    time.Duration
	grown        int             // messages in one read, as quick as handlers are: each full read doubles it
	batch        int             // messages in one read: less than most while reads fail
	caution      lease.Suspicion // as if something so suspect were held: where one suspect was read, more may follow
	unreadable   error           // a read of one message failed, perhaps for what its row holds; nil: none has
	sound        int64           // the msg_id that was looked at after that, and found readable; 0: none was
	passed       passed          // messages that reads leave out

	stuck *health.Progress // a step that lasts while stuck handlers have all workers
}

// NewDemand begins with a message for each worker. stuck is a step that lasts while handlers that ignore their deadlines have all workers.
func NewDemand(limits Limits, stuck *health.Progress) *Demand {
	d := &Demand{limits: limits, stuck: stuck, passed: newPassed(time.Now)}
	d.batch, d.grown = d.Most(), d.least()
	d.mostHeld = limits.Concurrency + max(2*d.Most(), limits.Prefetch) + max(2*d.Most(), limits.Concurrency)
	return d
}

// MostHeld is how many deliveries there are at most, whatever stage they are in.
func (d *Demand) MostHeld() int { return d.mostHeld }

// Most is how many messages a read may bring at most.
func (d *Demand) Most() int { return cmp.Or(d.limits.Batch, mostRead) }

// least is what reads that adapt begin with, and go back to: a message for each worker.
func (d *Demand) least() int { return min(cmp.Or(d.limits.Batch, d.limits.Concurrency), d.Most()) }

// Occupied notes how long workers were occupied with some messages.
func (d *Demand) Occupied(messages int, took time.Duration) {
	d.spent.Add(int64(took))
	d.count.Add(int64(messages))
}

// learn takes up what the workers have told since it was last called, and makes reads smaller when handlers have become slower. The fetcher calls it
// before it asks for anything else.
func (d *Demand) learn() {
	if n := d.count.Swap(0); n > 0 {
		recent := time.Duration(d.spent.Swap(0) / n)
		if !d.known {
			d.perMessage, d.known = recent, true
		}
		d.perMessage += (recent - d.perMessage) / 4
	}
	if d.known && d.limits.Prefetch == 0 {
		d.grown = max(min(d.grown, d.soon()), d.least())
	}
}

// soon is how many messages the workers get through in some round trips.
func (d *Demand) soon() int { return d.handledIn(min(readsAhead*d.roundTrip, longestAhead)) }

// ahead is how many messages may wait for a worker. With quick handlers that is two reads, so that one is worked on
// while the next is under way; with slow ones it is what the workers will get through soon, which may be none.
func (d *Demand) ahead() int {
	switch {
	case d.limits.Prefetch > 0:
		return d.limits.Prefetch
	case !d.known:
		return 0
	default:
		return min(d.soon(), 2*d.grown)
	}
}

// handledIn is how many messages the workers get through in a time.
func (d *Demand) handledIn(t time.Duration) int {
	return int(math.Min(float64(d.limits.Concurrency)*float64(t)/float64(max(d.perMessage, 1)), float64(d.mostHeld)))
}

// want is how much to read now; no messages means to wait until there is room. Unless workers are about to run dry it waits
// for room for a good part of a read, so that a stream of single completions does not become a stream of single reads.
func (d *Demand) want(held lease.Counts) (want queue.Bounds, ahead int) {
	free := d.limits.Concurrency - held.Stuck
	d.noteBlocked(free <= 0)
	ahead = d.ahead()
	read := min(d.batch, d.grown)
	most := min(free+ahead, max(d.caution, held.MostSuspect).Holds(d.limits.Concurrency, ahead))
	room := min(most-held.Buffered-held.InFlight, d.mostHeld-held.Held, read)
	bytes := d.limits.HeldBytes - held.Bytes
	if free <= 0 || room <= 0 || bytes <= 0 {
		return queue.Bounds{}, ahead
	}
	if held.Buffered > 0 && room < min(read, max(min(ahead, most)/2, 1)) {
		return queue.Bounds{}, ahead
	}
	return queue.Bounds{Messages: room, Bytes: bytes, MessageBytes: d.limits.MessageBytes, Except: d.passed.ids()}, ahead
}

// surplus is how many of the messages that wait are to be handed back: they were read for handlers that were quick, and would wait for
// longer than longestWait by now.
func (d *Demand) surplus(held lease.Counts) int {
	if d.limits.Prefetch > 0 || !d.known || held.Buffered <= d.handledIn(longestWait) {
		return 0
	}
	return held.Buffered - d.ahead()
}

// noteSuppressed notes messages that a read could not lease. It says whether the next one will look behind them.
func (d *Demand) noteSuppressed(ids []int64) (more bool) {
	pause := suppressedPause
	if queue.Classify(d.unreadable) == queue.Spoiled { // they make reads fail as well
		pause = spoiledPause
	}
	return d.passed.suppressed(ids, pause)
}

// noteRead notes how a read went. nearer says of one that has failed that the next one, which need not wait, is nearer to the row that is at fault.
func (d *Demand) noteRead(r readResult, err error) (nearer bool) {
	var unleasable *queue.UnleasableError
	switch {
	case err == nil:
		if r.sound != 0 && r.sound == d.sound { // it has made a read fail once more, as it seems
			d.passed.failed(r.sound, d.unreadable, r.took)
		}
		d.unreadable, d.sound = nil, r.sound
		d.batch = queue.More(d.batch, r.got, r.took, r.might, d.Most())
		if r.got >= d.grown {
			d.grown = min(2*d.grown, d.Most())
		}
		d.roundTrip = cmp.Or(d.roundTrip, r.took)
		d.roundTrip += (r.took - d.roundTrip) / 4
	case errors.As(err, &unleasable):
		if nearer = d.passed.failed(unleasable.ID, err, r.took); nearer {
			d.unreadable = nil
		}
	case !maybeOfARow(r, err):
	case r.wanted == 1:
		nearer = d.unreadable == nil
		d.unreadable = err
	default:
		before := d.batch
		d.batch = queue.Less(d.batch, r.wanted) // halving finds the row in a few reads
		nearer = d.batch < before
	}
	return nearer
}

// maybeOfARow says whether a read may have failed because of one of its rows, or because of how many they were. Where they were leased and it is the
// commit that failed, that is so only when the error says it.
func maybeOfARow(r readResult, err error) bool {
	switch fault := queue.Classify(err); {
	case fault == queue.Spoiled:
		return true
	case fault == queue.TooLong, errors.Is(err, pg.ErrNoAnswer):
		return r.got == 0 || r.wanted > 1
	default:
		return r.got == 0 && queue.StatementFailed(err)
	}
}

// keep says which of the deliveries of a read there is room for beside what is held, as suspect as some of them are; the others are to be
// handed back. The most suspect comes first: it would otherwise be handed back for ever where others come all the time.
func (d *Demand) keep(read []*lease.Delivery, held lease.Counts) (kept, back []*lease.Delivery) {
	worst := mostSuspect(read)
	if worst == 0 {
		return read, nil
	}
	most := max(worst, held.MostSuspect).Holds(d.limits.Concurrency, d.ahead())
	room := max(most-held.Buffered-held.InFlight, 1)
	if len(read) <= room {
		return read, nil
	}
	kept = slices.SortedStableFunc(slices.Values(read), func(a, b *lease.Delivery) int { return cmp.Compare(b.Suspicion(), a.Suspicion()) })
	return kept[:room], kept[room:]
}

// beware makes fewer messages be at work, for a while, when some that have been read are more suspect than what was known. It says whether they are.
func (d *Demand) beware(read []*lease.Delivery) (more bool) {
	before := d.caution
	d.caution = max(mostSuspect(read), before-1)
	return d.caution > before
}

func mostSuspect(read []*lease.Delivery) (worst lease.Suspicion) {
	for _, each := range read {
		worst = max(worst, each.Suspicion())
	}
	return worst
}

func (d *Demand) noteBlocked(blocked bool) {
	switch {
	case !blocked:
		d.stuck.End()
	case !d.stuck.Busy():
		d.stuck.Begin(0)
	}
}
