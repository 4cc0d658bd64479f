package settle

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"orderflow.example/kit/wait"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/signal"
)

// lane writes outcomes over one link. It takes whatever outcomes have gathered while the statement before was under way and
// writes those of one kind in one statement: under load the batches grow by themselves, and the outcome of a message that is held alone is
// written at once.
//
// An outcome stays here until its fate is known. When the connection is lost in the middle, the same statement is sent
// again: the lease check makes that safe, and what an earlier try had achieved is recognised. That goes on for as long as
// it takes, even beyond the visibility timeout: while nobody could read, nobody has taken the lease over.
type lane struct {
	Needs
	own     LaneNeeds
	settler *Settler
	ackWork *ackWork // of a lane for ack work; else nil
	in      chan outcome
	freed   signal.Signal // signals that heartbeats are over
	pending [kinds][]outcome
	taken   []outcome // by the heartbeat, which is at their leases just now
	refused [kinds]refusal
	most    int           // outcomes in one statement: less than mostWritten while statements take too long
	might   time.Duration // how long the last statement might take
	overdue atomic.Bool   // results wait for a connection
	connect signal.Signal // tells that there may be one again
}

// kinds of outcomes there are, by their [ending.Op].
const kinds = ending.Release + 1

// refusal keeps one kind of statement back for a while, after the server has refused it for a reason that concerns the whole
// kind: a right that is missing, a table that has been dropped. The other kinds go on.
type refusal struct {
	until time.Time
	retry wait.Pauses
}

func (r *refusal) note(now time.Time) { r.until = now.Add(r.retry.Next()) }

func (r *refusal) clear() { *r = refusal{} }

// mostWritten is the size of one statement. Beyond a thousand the gain is small, and a batch that is spoiled costs more.
const mostWritten = 1000

func newLane(n Needs, own LaneNeeds, in chan outcome, all *Settler) *lane {
	return &lane{Needs: n, own: own, settler: all, in: in, freed: n.Held.WhenFreed(), most: mostWritten, connect: signal.New()}
}

// run writes outcomes until the settler was told to finish and nothing is left, or ctx ends.
func (l *lane) run(ctx context.Context) {
	var retry wait.Pauses
	for l.gather(ctx) {
		l.await(ctx)
		answered, err := l.flush(ctx)
		l.own.Progress.End()
		switch {
		case err != nil:
			l.overdue.Store(true)
			l.pause(ctx, retry.Next())
		case answered:
			retry.Reset()
			l.overdue.Store(false)
			l.settler.caughtUp.Send()
		}
	}
}

// pause waits for d, or less when there may be a connection again.
func (l *lane) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.connect:
	case <-ctx.Done():
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
		finishing := l.settler.finishing
		select {
		case <-finishing:
			if l.Held.Size() == 0 {
				return false
			}
			finishing = nil // what is left has been deferred
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
		case <-finishing:
		case <-ctx.Done():
			later.Stop()
			return false
		}
		later.Stop()
	}
}

// What was read together is written together, if handlers are quick: without that a read of a few messages became two or three statements,
// each with its flush of the log, because the first result was written at once. Results wait for those of what else is held, for SettlePause
// at most, and not when there are enoughWritten.
const (
	SettlePause   = 500 * time.Microsecond
	enoughWritten = 64
)

// await waits for the results of what else is held.
func (l *lane) await(ctx context.Context) {
	if l.ackWork != nil || l.overdue.Load() {
		return
	}
	var over <-chan time.Time
	for n := l.gathered(); n < enoughWritten && n < l.Held.Size(); n = l.gathered() {
		if over == nil {
			timer := time.NewTimer(l.SettlePause)
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
	for l.ackWork == nil || len(l.pending[ending.Ack]) < l.most {
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

func (l *lane) add(o outcome) { l.pending[o.Op] = append(l.pending[o.Op], o) }

func (l *lane) nextDue() (due time.Time, waiting bool) {
	for op, list := range l.pending {
		for i := range list {
			at := list[i].after
			if until := l.refused[op].until; until.After(at) {
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
// is still pending. So is what the server refuses, or does not answer in time, but that keeps no other kind waiting: if any statement is answered
// there is a connection. A try that gets no answer again is no news of it.
func (l *lane) flush(ctx context.Context) (answered bool, lost error) {
	for _, op := range ending.Ops() {
		batches := l.due(op, time.Now())
		for i, b := range batches {
			b, claimed := l.claim(b)
			if len(claimed) == 0 {
				continue
			}
			err := l.write(ctx, b)
			l.Held.ReleaseClaims(claimed)
			l.own.Note(op, err)
			if err == nil {
				l.refused[op].clear()
				answered = true
				continue
			}
			for _, left := range batches[i+1:] {
				l.pending[op] = append(l.pending[op], left.items...)
			}
			var unfit *effect.UnfitError
			switch {
			case errors.Is(err, pg.ErrNoAnswer):
				if b.items[0].tries == 0 {
					lost = err
				}
			case !queue.Answered(err) && !errors.As(err, &unfit):
				return answered, err
			default:
				answered = true
				l.refused[op].note(time.Now())
			}
			break
		}
	}
	if answered {
		return true, nil
	}
	return false, lost
}

// claim keeps the heartbeat from what is to be written, and leaves out of the batch what the heartbeat is at.
func (l *lane) claim(b batch) (free batch, claimed []*lease.Delivery) {
	claimed = b.deliveries()
	taken := l.Held.ClaimForSettling(claimed)
	if len(taken) == 0 {
		return b, claimed
	}
	free = batch{statement: b.statement}
	for _, o := range b.items {
		if taken[o.delivery] {
			l.taken = append(l.taken, o)
		} else {
			free.items = append(free.items, o)
		}
	}
	return free, free.deliveries()
}

// group is what outcomes of one batch have in common.
type group struct {
	again        bool
	statement    statement
	mostTogether int
}

func (g group) compare(other group) int {
	if g.again != other.again {
		return map[bool]int{false: -1, true: 1}[g.again]
	}
	return cmp.Or(cmp.Compare(g.statement, other.statement), cmp.Compare(other.mostTogether, g.mostTogether)) // suspects come last
}

// due takes from the pending outcomes of one kind those whose time has come, as batches that one statement can write: first the
// new ones, then those to be tried again, which are not to be in the way of others. Of these, whose statements may each wait for a lock, it takes only
// the batch that has been due for longest.
func (l *lane) due(op ending.Op, now time.Time) []batch {
	if now.Before(l.refused[op].until) {
		return nil
	}
	list := l.pending[op]
	deferred := list[:0] // its memory is used again: growing anew each time was a twelfth of all that a message allocates
	due := map[group][]outcome{}
	for i, item := range list {
		if item.after.After(now) {
			deferred = append(deferred, item)
			continue
		}
		g := group{again: item.tries > 0, statement: item.statement(), mostTogether: cmp.Or(item.mostTogether, mostWritten)}
		if due[g] == nil {
			due[g] = make([]outcome, 0, len(list)-i) // as a rule there is one group
		}
		due[g] = append(due[g], item)
	}
	clear(list[len(deferred):])
	l.pending[op] = deferred
	var batches, again []batch
	for _, g := range slices.SortedFunc(maps.Keys(due), group.compare) {
		to := &batches
		if g.again {
			to = &again
		}
		*to = slices.AppendSeq(*to, cut(g.statement, due[g], min(l.most, g.mostTogether)))
	}
	if len(again) == 0 {
		return batches
	}
	slices.SortStableFunc(again, func(a, b batch) int { return a.items[0].after.Compare(b.items[0].after) })
	for _, later := range again[1:] {
		l.pending[op] = append(l.pending[op], later.items...)
	}
	return append(batches, again[0])
}
