package worker

import (
	"log/slog"
	"time"

	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// settling is what it takes to end leases: shared by the settler's lanes.
type settling struct {
	queue     *queue.Queue
	held      *held
	endings   endings
	consumer  string              // CONSUMER_ID, for orders.processed_by
	poll      time.Duration       // how long others sleep at most: who is due sooner is told to them
	retryIn   func(time.Duration) // tells our own poller that a message will be due then
	draining  func() bool
	room      chan struct{} // signalled when leases have ended
	progress  *progress
	health    *[operations]health
	unwritten *unwritten
	log       *slog.Logger
	metrics   *metrics.Metrics
}

// settler writes how leases end. It hands each outcome to the lane that writes outcomes of its kind.
type settler struct {
	lane     *lane
	ending   chan struct{} // closed when no delivery will be decided any more
	caughtUp chan struct{} // signals that no lane is overdue any more
}

// newSettler returns one that writes over link; there are never more than most deliveries at a time.
func newSettler(s settling, link *pg.Link, most int) *settler {
	all := &settler{ending: make(chan struct{}), caughtUp: make(chan struct{}, 1)}
	all.lane = newLane(s, link, make(chan outcome, most), all)
	return all
}

// put hands an outcome over. It never blocks: there are no more deliveries than in has room for, and one outcome of each.
func (s *settler) put(o outcome) { s.lane.in <- o }

// finish makes the lanes end as soon as everything is written.
func (s *settler) finish() { close(s.ending) }

// overdue says whether results wait for a connection: nothing is to be read before them.
func (s *settler) overdue() bool { return s.lane.overdue.Load() }
