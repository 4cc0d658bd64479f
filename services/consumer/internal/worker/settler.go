package worker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// settler writes how leases end. It hands each outcome to a lane that writes outcomes of its kind: there is one for most of them, and
// several for acks with ack work.
type settler struct {
	held         *held
	plain        *lane
	ackWorkLanes []*lane
	ackWork      chan outcome  // to their lanes
	ending       chan struct{} // closed when no delivery will be decided any more
	caughtUp     chan struct{} // signals that a lane is not overdue any more
}

// newSettler returns one that writes over link. There are never more than most deliveries at a time.
func newSettler(s settling, link *pg.Link, most int) *settler {
	all := &settler{held: s.held, ackWork: make(chan outcome, most), ending: make(chan struct{}), caughtUp: make(chan struct{}, 1)}
	all.plain = newLane(s, link, make(chan outcome, most), all)
	return all
}

// addAckWorkLane adds one that writes acks with ack work over link.
func (s *settler) addAckWorkLane(parts settling, link *pg.Link, w *ackWork) {
	l := newLane(parts, link, s.ackWork, s)
	l.ackWork, l.most = w, firstAckWork
	s.ackWorkLanes = append(s.ackWorkLanes, l)
}

// put hands an outcome over. It never blocks: there are no more deliveries than there is room for, and one outcome of each.
func (s *settler) put(o outcome) {
	if o.statement().withAckWork() {
		s.held.beginAckWork(o.delivery)
		s.ackWork <- o
		return
	}
	s.plain.in <- o
}

// run runs the lane for all but ack work, until the settler was told to finish and nothing is left, or ctx ends.
func (s *settler) run(ctx context.Context) { s.plain.run(ctx) }

// runAckWork runs the lanes for ack work until ctx ends. What they have not written then is handed back.
func (s *settler) runAckWork(ctx context.Context) {
	var lanes sync.WaitGroup
	for _, l := range s.ackWorkLanes {
		lanes.Go(func() {
			l.run(ctx)
			l.handBack()
		})
	}
	lanes.Wait()
	if len(s.ackWorkLanes) == 0 {
		return
	}
	for {
		select {
		case o := <-s.ackWork:
			s.ackWorkLanes[0].add(o)
		default:
			s.ackWorkLanes[0].handBack()
			return
		}
	}
}

// finish makes run return as soon as everything is written.
func (s *settler) finish() { close(s.ending) }

// overdue says whether results wait for a connection: nothing is to be read before them.
func (s *settler) overdue() bool {
	return s.plain.overdue.Load() || slices.ContainsFunc(s.ackWorkLanes, func(l *lane) bool { return l.overdue.Load() })
}

// lane writes outcomes over one link. It takes whatever outcomes have gathered while the statement before was under way and
// writes those of one kind in one statement: under load the batches grow by themselves, and the outcome of a message that is held alone is
// written at once.
//
// An outcome stays here until its fate is known. When the connection is lost in the middle, the same statement is sent
// again: the lease check makes that safe, and what an earlier try had achieved is recognised. That goes on for as long as
// it takes, even beyond the visibility timeout: while nobody could read, nobody has taken the lease over.
type lane struct {
	settling
	settler *settler
	link    *pg.Link
	ackWork *ackWork // of a lane for ack work; else nil
	in      chan outcome
	freed   <-chan struct{} // signals that heartbeats are over
	pending [operations][]outcome
	taken   []outcome // by the heartbeat, which is at their leases just now
	refused [operations]refusal
	most    int         // outcomes in one statement: less than mostWritten while statements take too long
	overdue atomic.Bool // results wait for a connection
}

// settling is what it takes to end leases. The settler's lanes share all of it but progress and note: those for ack work have their own.
type settling struct {
	queue     *queue.Queue
	held      *held
	endings   endings
	consumer  string              // CONSUMER_ID, for orders.processed_by
	poll      time.Duration       // how long others sleep at most: who is due sooner is told to them
	ackPause  time.Duration       // that results wait for others at most
	retryIn   func(time.Duration) // tells our own poller that a message will be due then
	draining  func() bool
	room      chan struct{} // signalled when leases have ended
	progress  *progress
	note      func(op, error) // tells how a statement went
	unwritten *unwritten
	gate      *gating // hears how attempts with ack work have ended
	log       *slog.Logger
	metrics   *metrics.Metrics
	spans     spans
}

// refusal keeps one kind of statement back for a while, after the server has refused it for a reason that concerns the whole
// kind: a right that is missing, a table that has been dropped. The other kinds go on.
type refusal struct {
	until time.Time
	retry backoff.Retry
}

func (r *refusal) note(now time.Time) { r.until = now.Add(r.retry.Next()) }

func (r *refusal) clear() { *r = refusal{} }

// mostWritten is the size of one statement. Beyond a thousand the gain is small, and a batch that is spoiled costs more.
const mostWritten = 1000

func newLane(s settling, link *pg.Link, in chan outcome, all *settler) *lane {
	return &lane{settling: s, settler: all, link: link, in: in, freed: s.held.whenFreed(), most: mostWritten}
}

// run writes outcomes until the settler was told to finish and nothing is left, or ctx ends.
func (l *lane) run(ctx context.Context) {
	var retry backoff.Retry
	for l.gather(ctx) {
		l.await(ctx)
		err := l.flush(ctx)
		l.progress.end()
		if err == nil {
			retry.Reset()
			l.overdue.Store(false)
			signal(l.settler.caughtUp)
			continue
		}
		l.overdue.Store(true)
		pause(ctx, retry.Next())
	}
}

// gather blocks until there is something to write. It says false when there is nothing left to wait for.
func (l *lane) gather(ctx context.Context) bool {
	for {
		l.take()
		due, waiting := l.nextDue()
		if waiting && !time.Now().Before(due) {
			return ctx.Err() == nil
		}
		ending := l.settler.ending
		select {
		case <-ending:
			if l.held.size.Load() == 0 {
				return false
			}
			ending = nil // what is left has been deferred
		default:
		}
		later := time.NewTimer(time.Until(due))
		if !waiting {
			later.Stop()
		}
		select {
		case o := <-l.in:
			l.add(o)
		case <-l.freed:
			l.resume()
		case <-later.C:
		case <-ending:
		case <-ctx.Done():
			later.Stop()
			return false
		}
		later.Stop()
	}
}

// What was read together is written together, if handlers are quick: without that a read of a few messages became two or three statements,
// each with its flush of the log, because the first result was written at once. Results wait for those of what else is held, for ackPause
// at most, and not when there are enoughWritten.
const (
	ackPause      = 500 * time.Microsecond
	enoughWritten = 64
)

// await waits for the results of what else is held.
func (l *lane) await(ctx context.Context) {
	if l.ackWork != nil || l.overdue.Load() {
		return
	}
	var over <-chan time.Time
	for n := l.gathered(); n < enoughWritten && int64(n) < l.held.size.Load(); n = l.gathered() {
		if over == nil {
			timer := time.NewTimer(l.ackPause)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case o := <-l.in:
			l.add(o)
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// gathered is how many results are here.
func (l *lane) gathered() int {
	n := len(l.taken)
	for _, list := range l.pending {
		n += len(list)
	}
	return n
}

// take adds what has gathered, without waiting. A lane for ack work leaves to the others what it cannot begin with at once.
func (l *lane) take() {
	for l.ackWork == nil || len(l.pending[opAck]) < l.most {
		select {
		case o := <-l.in:
			l.add(o)
		case <-l.freed:
			l.resume()
		default:
			return
		}
	}
}

// resume goes on with what the heartbeat was at.
func (l *lane) resume() {
	for _, o := range l.taken {
		l.add(o)
	}
	l.taken = nil
}

func (l *lane) add(o outcome) { l.pending[o.op] = append(l.pending[o.op], o) }

func (l *lane) nextDue() (due time.Time, waiting bool) {
	for o, list := range l.pending {
		for i := range list {
			at := list[i].after
			if until := l.refused[o].until; until.After(at) {
				at = until
			}
			if !waiting || at.Before(due) {
				due, waiting = at, true
			}
			if due.IsZero() {
				return due, true
			}
		}
	}
	return due, waiting
}

// flush tries to write everything that is due, acks first. An error means that the connection is lost: what is not written
// is still pending. So is what the server refuses, but that keeps no other kind waiting.
func (l *lane) flush(ctx context.Context) error {
	for o := range operations {
		batches := l.due(o, time.Now())
		for i, b := range batches {
			claimed, taken := l.held.claimForSettling(b.items)
			l.taken = append(l.taken, taken...)
			if len(claimed) == 0 {
				continue
			}
			err := l.write(ctx, batch{b.statement, claimed})
			l.held.releaseClaims(claimed)
			l.note(o, err)
			if err == nil {
				l.refused[o].clear()
				continue
			}
			for _, left := range batches[i+1:] {
				l.pending[o] = append(l.pending[o], left.items...)
			}
			var unfit *effect.UnfitError
			if !queue.Answered(err) && !errors.As(err, &unfit) {
				return err
			}
			l.refused[o].note(time.Now())
			break
		}
	}
	return nil
}

// group is what outcomes of one batch have in common.
type group struct {
	again     bool
	statement statement
	company   int
}

func (g group) compare(other group) int {
	if g.again != other.again {
		return map[bool]int{false: -1, true: 1}[g.again]
	}
	return cmp.Or(cmp.Compare(g.statement, other.statement), cmp.Compare(g.company, other.company))
}

// due takes from the pending outcomes of one kind those whose time has come, as batches that one statement can write: first the
// new ones, then those to be tried again, which are not to be in the way of others.
func (l *lane) due(o op, now time.Time) []batch {
	if now.Before(l.refused[o].until) {
		return nil
	}
	list := l.pending[o]
	deferred := list[:0] // its memory is used again: growing anew each time was a twelfth of all that a message allocates
	due := map[group][]outcome{}
	for i, item := range list {
		if item.after.After(now) {
			deferred = append(deferred, item)
			continue
		}
		g := group{again: item.tries > 0, statement: item.statement(), company: item.company}
		if due[g] == nil {
			due[g] = make([]outcome, 0, len(list)-i) // as a rule there is one group
		}
		due[g] = append(due[g], item)
	}
	clear(list[len(deferred):])
	l.pending[o] = deferred
	var batches []batch
	for _, g := range slices.SortedFunc(maps.Keys(due), group.compare) {
		most := l.most
		if g.company > 0 {
			most = min(most, g.company)
		}
		batches = slices.AppendSeq(batches, cut(g.statement, due[g], most))
	}
	return batches
}
