package worker

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// horizon is how far ahead the adaptive prefetch plans: a message waits in the buffer about that long at most. It is much
// longer than a read takes, and much shorter than any visibility timeout.
const horizon = 250 * time.Millisecond

// load decides how many messages to fetch: enough that no worker waits for the database, no more than will be worked on
// soon, because what we hold no other consumer can have.
type load struct {
	settings Settings
	held     *held
	mostHeld int           // leases, whatever stage they are in: bounds memory when nothing can be written back
	room     chan struct{} // signals that there may be room for more

	// Sums since the last look, by the workers; the running estimate, by the fetcher alone.
	spent, count atomic.Int64
	perMessage   time.Duration
	known        bool
	batch        int       // messages in one read: less than Settings.Batch while reads fail for how long they take or for what a row holds
	caution      suspicion // as if something so suspect were held: where one was read more may follow
	unreadable   error     // a read of one message failed for what its row holds; nil: none has

	stuck *progress // no worker is free of a stuck handler
}

func newLoad(s Settings, h *held, stuck *progress) *load {
	ahead := max(2*s.Batch, s.Prefetch)
	return &load{
		settings: s,
		held:     h,
		stuck:    stuck,
		batch:    s.Batch,
		mostHeld: s.Concurrency + ahead + max(2*s.Batch, s.Concurrency),
		room:     make(chan struct{}, 1),
	}
}

// worked notes how long workers were occupied with some messages.
func (l *load) worked(messages int, took time.Duration) {
	l.spent.Add(int64(took))
	l.count.Add(int64(messages))
}

// ahead is how many messages may wait for a worker. With quick handlers that is two batches, so that one is worked on
// while the next is read; with slow ones it is what the workers will get through within the horizon, which may be none.
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
	most := 2 * l.settings.Batch
	if l.perMessage <= 0 {
		return most
	}
	return int(math.Min(float64(l.settings.Concurrency)*float64(horizon)/float64(l.perMessage), float64(most)))
}

// want is how much to read now; no messages means to wait until there is room. Unless workers are about to run dry it waits
// for room for a good part of a batch, so that a stream of single completions does not become a stream of single reads.
func (l *load) want() (want queue.Bounds, ahead int) {
	stuck := l.held.stuckSlots()
	free := l.settings.Concurrency - stuck
	l.noteBlocked(free <= 0)
	ahead = l.ahead()
	waiting, working := int(l.held.waiting.Load()), int(l.held.working.Load()+l.held.inAck.Load())
	most := min(free+ahead, max(l.caution, l.held.mostSuspect()).holds(l.settings.Concurrency, ahead))
	room := min(most-waiting-working, l.mostHeld-int(l.held.size.Load()), l.batch)
	bytes := l.settings.HeldBytes - l.held.bytes.Load()
	if free <= 0 || room <= 0 || bytes <= 0 {
		return queue.Bounds{}, ahead
	}
	if waiting > 0 && room < min(l.settings.Batch, max(most/2, 1)) {
		return queue.Bounds{}, ahead
	}
	return queue.Bounds{Messages: room, Bytes: bytes, MessageBytes: l.settings.MessageBytes}, ahead
}

// read notes how a read of n messages went; the fetcher's.
func (l *load) read(n int, err error) {
	fault := queue.Classify(err)
	switch {
	case err == nil:
		l.unreadable = nil
		l.batch = min(l.batch+l.batch/8+1, l.settings.Batch)
	case fault == queue.Spoiled && n == 1:
		l.unreadable = err
	case fault == queue.TooLong, fault == queue.Spoiled:
		l.batch = max(n/2, 1) // halving finds the row in a few reads
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
	room := max(most-int(l.held.waiting.Load()+l.held.working.Load()+l.held.inAck.Load()), 1)
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
