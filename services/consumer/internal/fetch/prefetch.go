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

// Prefetch decides how many messages to fetch: enough that no worker waits for the database, no more than will be worked on
// soon, because what we hold no other consumer can have.
type Prefetch struct {
	limits   Limits
	mostHeld int // leases, whatever stage they are in: bounds memory when nothing can be written back

	// Sums since the last look, by the workers; the running estimates, by the fetcher alone.
	spent, count atomic.Int64
	perMessage   time.Duration
	known        bool
	roundTrip    time.Duration
	grown        int             // messages in one read, as quick as handlers are: each full read doubles it
	batch        int             // messages in one read: less than most while reads fail for how long they take or for what a row holds
	caution      lease.Suspicion // as if something so suspect were held: where one was read more may follow
	unreadable   error           // a read of one message failed for what its row holds; nil: none has

	stuck *health.Progress // no worker is free of a stuck handler
}

// NewPrefetch begins with a message for each worker. stuck is busy while no worker is free of a stuck handler.
func NewPrefetch(limits Limits, stuck *health.Progress) *Prefetch {
	p := &Prefetch{limits: limits, stuck: stuck}
	p.batch, p.grown = p.Most(), p.least()
	p.mostHeld = limits.Concurrency + max(2*p.Most(), limits.Prefetch) + max(2*p.Most(), limits.Concurrency)
	return p
}

// MostHeld is how many deliveries there are at most, whatever stage they are in.
func (p *Prefetch) MostHeld() int { return p.mostHeld }

// Most is how many messages a read may bring at most.
func (p *Prefetch) Most() int { return cmp.Or(p.limits.Batch, mostRead) }

// least is what reads that adapt begin with, and go back to: a message for each worker.
func (p *Prefetch) least() int { return min(cmp.Or(p.limits.Batch, p.limits.Concurrency), p.Most()) }

// Occupied notes how long workers were occupied with some messages.
func (p *Prefetch) Occupied(messages int, took time.Duration) {
	p.spent.Add(int64(took))
	p.count.Add(int64(messages))
}

// ahead is how many messages may wait for a worker. With quick handlers that is two reads, so that one is worked on
// while the next is under way; with slow ones it is what the workers will get through in some round trips, which may be none.
func (p *Prefetch) ahead() int {
	if p.limits.Prefetch > 0 {
		return p.limits.Prefetch
	}
	if n := p.count.Swap(0); n > 0 {
		recent := time.Duration(p.spent.Swap(0) / n)
		if !p.known {
			p.perMessage, p.known = recent, true
		}
		p.perMessage += (recent - p.perMessage) / 4
	}
	if !p.known {
		return 0
	}
	soon := p.handledIn(min(readsAhead*p.roundTrip, longestAhead))
	p.grown = max(min(p.grown, soon), p.least())
	return min(soon, 2*p.grown)
}

// handledIn is how many messages the workers get through in a time.
func (p *Prefetch) handledIn(d time.Duration) int {
	return int(math.Min(float64(p.limits.Concurrency)*float64(d)/float64(max(p.perMessage, 1)), float64(p.mostHeld)))
}

// want is how much to read now; no messages means to wait until there is room. Unless workers are about to run dry it waits
// for room for a good part of a read, so that a stream of single completions does not become a stream of single reads.
func (p *Prefetch) want(held lease.Counts) (want queue.Bounds, ahead int) {
	free := p.limits.Concurrency - held.Stuck
	p.noteBlocked(free <= 0)
	ahead = p.ahead()
	read := min(p.batch, p.grown)
	most := min(free+ahead, max(p.caution, held.MostSuspect).Holds(p.limits.Concurrency, ahead))
	room := min(most-held.Buffered-held.InFlight, p.mostHeld-held.Held, read)
	bytes := p.limits.HeldBytes - held.Bytes
	if free <= 0 || room <= 0 || bytes <= 0 {
		return queue.Bounds{}, ahead
	}
	if held.Buffered > 0 && room < min(read, max(min(ahead, most)/2, 1)) {
		return queue.Bounds{}, ahead
	}
	return queue.Bounds{Messages: room, Bytes: bytes, MessageBytes: p.limits.MessageBytes}, ahead
}

// surplus is how many of the messages that wait are to be handed back: they were read for handlers that were quick, and would wait for
// longer than longestWait by now.
func (p *Prefetch) surplus(held lease.Counts) int {
	if p.limits.Prefetch > 0 || !p.known || held.Buffered <= p.handledIn(longestWait) {
		return 0
	}
	return held.Buffered - p.ahead()
}

// noteRead notes how a read went; the fetcher's.
func (p *Prefetch) noteRead(r readResult, err error) {
	fault := queue.Classify(err)
	switch {
	case err == nil:
		p.unreadable = nil
		p.batch = queue.More(p.batch, r.got, r.took, r.might, p.Most())
		if r.got >= p.grown {
			p.grown = min(2*p.grown, p.Most())
		}
		p.roundTrip = cmp.Or(p.roundTrip, r.took)
		p.roundTrip += (r.took - p.roundTrip) / 4
	case fault == queue.Spoiled && r.wanted == 1:
		p.unreadable = err
	case fault == queue.TooLong, fault == queue.Spoiled, errors.Is(err, pg.ErrNoAnswer):
		p.batch = queue.Less(p.batch, r.wanted) // halving finds the row in a few reads
	}
}

// keep says which of the deliveries of a read there is room for beside what is held, as suspect as some of them are; the others are to be
// handed back. The most suspect comes first: it would otherwise be handed back for ever where others come all the time. The fetcher's.
func (p *Prefetch) keep(read []*lease.Delivery, held lease.Counts) (kept, back []*lease.Delivery) {
	worst := lease.Suspicion(0)
	for _, d := range read {
		worst = max(worst, d.Suspicion())
	}
	p.caution = max(worst, p.caution-1)
	if worst == 0 {
		return read, nil
	}
	most := max(worst, held.MostSuspect).Holds(p.limits.Concurrency, p.ahead())
	room := max(most-held.Buffered-held.InFlight, 1)
	if len(read) <= room {
		return read, nil
	}
	kept = slices.SortedStableFunc(slices.Values(read), func(a, b *lease.Delivery) int { return cmp.Compare(b.Suspicion(), a.Suspicion()) })
	return kept[:room], kept[room:]
}

func (p *Prefetch) noteBlocked(blocked bool) {
	switch {
	case !blocked:
		p.stuck.End()
	case !p.stuck.Busy():
		p.stuck.Begin(0)
	}
}
