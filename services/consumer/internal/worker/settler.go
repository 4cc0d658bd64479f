package worker

import (
	"context"
	"slices"
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
	ending  chan struct{} // closed when no flight will be decided any more
	pending [operations][]outcome
}

// most is the size of one statement. Beyond a thousand the gain is small, and a batch that is spoiled costs more.
const most = 1000

func newSettler(c *Consumer, link *pg.Link) *settler {
	return &settler{Consumer: c, link: link, in: make(chan outcome, c.load.mostHeld), ending: make(chan struct{})}
}

// put hands an outcome over. It never blocks: there are no more flights than in has room for, and one outcome of each.
func (s *settler) put(o outcome) { s.in <- o }

// finish makes run return as soon as everything is written.
func (s *settler) finish() { close(s.ending) }

// run writes outcomes until finish was called and nothing is left, or ctx ends.
func (s *settler) run(ctx context.Context) {
	var retry backoff.Retry
	for s.gather(ctx) {
		s.settling.begin()
		err := s.flush(ctx)
		s.settling.end()
		s.writes.note(err)
		if err == nil {
			retry.Reset()
			continue
		}
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
		default:
			return
		}
	}
}

func (s *settler) add(o outcome) { s.pending[o.op] = append(s.pending[o.op], o) }

func (s *settler) nextDue() (due time.Time, waiting bool) {
	for _, list := range s.pending {
		for i := range list {
			if !waiting || list[i].after.Before(due) {
				due, waiting = list[i].after, true
			}
			if due.IsZero() {
				return due, true
			}
		}
	}
	return due, waiting
}

// flush tries to write everything that is due, acks first. An error means that something cannot be written at present; it is
// still pending. A refusal of one kind does not keep the others waiting, a lost connection does.
func (s *settler) flush(ctx context.Context) error {
	var refused error
	for o := range operations {
		batches := s.due(o, time.Now())
		for i, batch := range batches {
			err := s.write(ctx, o, batch)
			if err == nil {
				continue
			}
			s.pending[o] = append(s.pending[o], slices.Concat(batches[i+1:]...)...)
			if !queue.Answered(err) {
				return err
			}
			refused = err
			break
		}
	}
	return refused
}

// due takes from the pending outcomes of one kind those whose time has come, as batches that one statement can write.
func (s *settler) due(o op, now time.Time) [][]outcome {
	var plain, locked, untold, deferred []outcome
	for _, item := range s.pending[o] {
		switch {
		case item.after.After(now):
			deferred = append(deferred, item)
		case item.untold:
			untold = append(untold, item)
		case item.tries > 0:
			locked = append(locked, item) // once more, but not in the way of others
		default:
			plain = append(plain, item)
		}
	}
	s.pending[o] = deferred
	return slices.Concat(slices.Collect(slices.Chunk(plain, most)), slices.Collect(slices.Chunk(locked, most)),
		slices.Collect(slices.Chunk(untold, most)))
}
