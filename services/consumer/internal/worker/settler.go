package worker

import (
	"context"
	"slices"
	"sync"

	"orderflow.example/services/consumer/internal/pg"
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
