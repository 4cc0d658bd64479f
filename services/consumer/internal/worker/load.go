package worker

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

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

// load decides how many messages to fetch: enough that no worker waits for the database, no more than will be worked on
// soon, because what we hold no other consumer can have.
type load struct {
	settings Settings
	held     *held
	mostHeld int           // leases, whatever stage they are in: bounds memory when nothing can be written back
	room     chan struct{} // signals that there may be room for more

	// Sums since the last look, by the workers; the running estimates, by the fetcher alone.
	spent, count atomic.Int64
	perMessage   time.Duration
	known        bool
	roundTrip    time.Duration
	grown        int       // messages in one read, as quick as handlers are: each full read doubles it
	batch        int       // messages in one read: less than most while reads fail for how long they take or for what a row holds
	caution      suspicion // as if something so suspect were held: where one was read more may follow
	unreadable   error     // a read of one message failed for what its row holds; nil: none has

	stuck *progress // no worker is free of a stuck handler
}

func newLoad(s Settings, h *held, stuck *progress) *load {
	l := &load{settings: s, held: h, stuck: stuck, room: make(chan struct{}, 1)}
	l.batch, l.grown = l.most(), l.least()
	l.mostHeld = s.Concurrency + max(2*l.most(), s.Prefetch) + max(2*l.most(), s.Concurrency)
	return l
}

// most is how many messages a read may bring at most.
func (l *load) most() int { return cmp.Or(l.settings.Batch, mostRead) }

// least is what reads that adapt begin with, and go back to: a message for each worker.
func (l *load) least() int { return min(cmp.Or(l.settings.Batch, l.settings.Concurrency), l.most()) }

// occupied notes how long workers were occupied with some messages.
func (l *load) occupied(messages int, took time.Duration) {
	l.spent.Add(int64(took))
	l.count.Add(int64(messages))
}

// ahead is how many messages may wait for a worker. With quick handlers that is two reads, so that one is worked on
// while the next is under way; with slow ones it is what the workers will get through in some round trips, which may be none.
func (l *load) ahead() int {
	if l.settings.Prefetch > 0 {
		return l.settings.Prefetch
	}
	if n := l.count.Swap(0); n > 0 {
		recent := time.Duration(l.spent.Swap(0) / n)
		if !l.known {
			l.perMessage, l.known = recent, true
		}
		l.perMessage += (recent - l.perMessage) / 4
	}
	if !l.known {
		return 0
	}
	soon := l.handledIn(min(readsAhead*l.roundTrip, longestAhead))
	l.grown = max(min(l.grown, soon), l.least())
	return min(soon, 2*l.grown)
}

// handledIn is how many messages the workers get through in a time.
func (l *load) handledIn(d time.Duration) int {
	return int(math.Min(float64(l.settings.Concurrency)*float64(d)/float64(max(l.perMessage, 1)), float64(l.mostHeld)))
}

// want is how much to read now; no messages means to wait until there is room. Unless workers are about to run dry it waits
// for room for a good part of a read, so that a stream of single completions does not become a stream of single reads.
func (l *load) want() (want queue.Bounds, ahead int) {
	stuck := l.held.stuckSlots()
	free := l.settings.Concurrency - stuck
	l.noteBlocked(free <= 0)
	ahead = l.ahead()
	read := min(l.batch, l.grown)
	buffered, running := int(l.held.buffered.Load()), l.held.inFlight()
	most := min(free+ahead, max(l.caution, l.held.mostSuspect()).holds(l.settings.Concurrency, ahead))
	room := min(most-buffered-running, l.mostHeld-int(l.held.size.Load()), read)
	bytes := l.settings.HeldBytes - l.held.bytes.Load()
	if free <= 0 || room <= 0 || bytes <= 0 {
		return queue.Bounds{}, ahead
	}
	if buffered > 0 && room < min(read, max(min(ahead, most)/2, 1)) {
		return queue.Bounds{}, ahead
	}
	return queue.Bounds{Messages: room, Bytes: bytes, MessageBytes: l.settings.MessageBytes}, ahead
}

// surplus is how many of the messages that wait are to be handed back: they were read for handlers that were quick, and would wait for
// longer than longestWait by now.
func (l *load) surplus() int {
	waiting := int(l.held.buffered.Load())
	if l.settings.Prefetch > 0 || !l.known || waiting <= l.handledIn(longestWait) {
		return 0
	}
	return waiting - l.ahead()
}

// noteRead notes how a read went that wanted so many messages and got so many; the fetcher's.
func (l *load) noteRead(wanted, got int, took time.Duration, err error) {
	fault := queue.Classify(err)
	switch {
	case err == nil:
		l.unreadable = nil
		l.batch = min(l.batch+l.batch/8+1, l.most())
		if got >= l.grown {
			l.grown = min(2*l.grown, l.most())
		}
		l.roundTrip = cmp.Or(l.roundTrip, took)
		l.roundTrip += (took - l.roundTrip) / 4
	case fault == queue.Spoiled && wanted == 1:
		l.unreadable = err
	case fault == queue.TooLong, fault == queue.Spoiled:
		l.batch = max(wanted/2, 1) // halving finds the row in a few reads
	}
}

// keep says which of the deliveries of a read there is room for beside what is held, as suspect as some of them are; the others are to be
// handed back. The most suspect comes first: it would otherwise be handed back for ever where others come all the time. The fetcher's.
func (l *load) keep(read []*delivery) (kept, back []*delivery) {
	worst := suspicion(0)
	for _, d := range read {
		worst = max(worst, d.suspicion())
	}
	l.caution = max(worst, l.caution-1)
	if worst == 0 {
		return read, nil
	}
	most := max(worst, l.held.mostSuspect()).holds(l.settings.Concurrency, l.ahead())
	room := max(most-int(l.held.buffered.Load())-l.held.inFlight(), 1)
	if len(read) <= room {
		return read, nil
	}
	kept = slices.SortedStableFunc(slices.Values(read), func(a, b *delivery) int { return cmp.Compare(b.suspicion(), a.suspicion()) })
	return kept[:room], kept[room:]
}

func (l *load) noteBlocked(blocked bool) {
	switch {
	case !blocked:
		l.stuck.end()
	case !l.stuck.busy():
		l.stuck.begin(0)
	}
}
