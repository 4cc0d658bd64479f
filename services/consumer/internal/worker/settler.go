package worker

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// settler writes how leases end. It takes whatever outcomes have gathered while the statement before was under way and
// writes those of one kind in one statement: under load the batches grow by themselves, and an outcome that comes alone is
// written at once.
//
// An outcome stays here until its fate is known. When the connection is lost in the middle, the same statement is sent
// again: the lease check makes that safe, and what an earlier try had achieved is recognised. That goes on for as long as
// it takes, even beyond the visibility timeout: while nobody could read, nobody has taken the lease over.
type settler struct {
	*Consumer
	link    *pg.Link
	in      chan outcome
	ending  chan struct{} // closed when no delivery will be decided any more
	pending [operations][]outcome
	taken   []outcome // by the heartbeat, which is at their leases just now
	refused [operations]refusal
	most    int // outcomes in one statement: less than mostWritten while the server cuts statements off for taking too long

	overdue  atomic.Bool   // results wait for a connection: nothing is to be read before them
	caughtUp chan struct{} // signals that overdue has ended
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

func newSettler(c *Consumer, link *pg.Link) *settler {
	return &settler{
		Consumer: c, link: link, most: mostWritten,
		in: make(chan outcome, c.load.mostHeld), ending: make(chan struct{}), caughtUp: make(chan struct{}, 1),
	}
}

// put hands an outcome over. It never blocks: there are no more deliveries than in has room for, and one outcome of each.
func (s *settler) put(o outcome) { s.in <- o }

// finish makes run return as soon as everything is written.
func (s *settler) finish() { close(s.ending) }

// run writes outcomes until finish was called and nothing is left, or ctx ends.
func (s *settler) run(ctx context.Context) {
	var retry backoff.Retry
	for s.gather(ctx) {
		err := s.flush(ctx)
		s.steps.settle.end()
		if err == nil {
			retry.Reset()
			s.overdue.Store(false)
			signal(s.caughtUp)
			continue
		}
		s.overdue.Store(true)
		pause(ctx, retry.Next())
	}
}

// gather blocks until there is something to write. It says false when there is nothing left to wait for.
func (s *settler) gather(ctx context.Context) bool {
	for {
		s.take()
		due, waiting := s.nextDue()
		if waiting && !time.Now().Before(due) {
			return ctx.Err() == nil
		}
		ending := s.ending
		select {
		case <-ending:
			if s.held.size.Load() == 0 {
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
		case o := <-s.in:
			s.add(o)
		case <-s.held.freed:
			s.resume()
		case <-later.C:
		case <-ending:
		case <-ctx.Done():
			later.Stop()
			return false
		}
		later.Stop()
	}
}

// take adds what has gathered, without waiting.
func (s *settler) take() {
	for {
		select {
		case o := <-s.in:
			s.add(o)
		case <-s.held.freed:
			s.resume()
		default:
			return
		}
	}
}

// resume goes on with what the heartbeat was at.
func (s *settler) resume() {
	for _, o := range s.taken {
		s.add(o)
	}
	s.taken = nil
}

func (s *settler) add(o outcome) { s.pending[o.op] = append(s.pending[o.op], o) }

func (s *settler) nextDue() (due time.Time, waiting bool) {
	for o, list := range s.pending {
		for i := range list {
			at := list[i].after
			if until := s.refused[o].until; until.After(at) {
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
func (s *settler) flush(ctx context.Context) error {
	for o := range operations {
		batches := s.due(o, time.Now())
		for i, batch := range batches {
			claimed, taken := s.held.settling(batch)
			s.taken = append(s.taken, taken...)
			if len(claimed) == 0 {
				continue
			}
			err := s.write(ctx, o, claimed)
			s.held.settled(claimed)
			s.writes[o].note(err)
			if err == nil {
				s.refused[o].clear()
				continue
			}
			s.pending[o] = append(s.pending[o], slices.Concat(batches[i+1:]...)...)
			if !queue.Answered(err) {
				return err
			}
			s.refused[o].note(time.Now())
			break
		}
	}
	return nil
}

// due takes from the pending outcomes of one kind those whose time has come, as batches that one statement can write.
func (s *settler) due(o op, now time.Time) [][]outcome {
	if now.Before(s.refused[o].until) {
		return nil
	}
	var plain, locked, messageOnly, deferred []outcome
	for _, item := range s.pending[o] {
		switch {
		case item.after.After(now):
			deferred = append(deferred, item)
		case item.messageOnly:
			messageOnly = append(messageOnly, item)
		case item.tries > 0:
			locked = append(locked, item) // once more, but not in the way of others
		default:
			plain = append(plain, item)
		}
	}
	s.pending[o] = deferred
	return slices.Concat(s.batches(o, plain), s.batches(o, locked), s.batches(o, messageOnly))
}

// mostBuried is how many bytes one statement moves to the dead letters: some seconds' worth for a slow disk.
const mostBuried = 8 << 20

// batches cuts outcomes of one kind into what one statement can write. Burying writes the whole message once more, within the
// database, and some are buried for their size.
func (s *settler) batches(o op, items []outcome) [][]outcome {
	if o != opBury {
		return slices.Collect(slices.Chunk(items, s.most))
	}
	var cut [][]outcome
	var bytes int64
	for i, item := range items {
		if size := item.delivery.msg.Size; i == 0 || len(cut[len(cut)-1]) >= s.most || bytes+size > mostBuried {
			cut, bytes = append(cut, nil), 0
		}
		bytes += item.delivery.msg.Size
		cut[len(cut)-1] = append(cut[len(cut)-1], item)
	}
	return cut
}
