// Package settle owns how the ends of deliveries are written: acks, nacks, hand-backs and burials, those of one kind together in one
// statement, and ack work in the transaction of its ack. An outcome stays here until its fate is known.
//
// It must never decide how a delivery ends (package ending does, and the gate says what counts), never write about a lease that the heartbeat
// writes about, and never drop an outcome of which it does not know what has become of it.
package settle

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/signal"
	"orderflow.example/services/consumer/internal/spans"
)

// Needs are what it takes to end leases; all lanes have them.
type Needs struct {
	Queue       *queue.Queue
	Held        *lease.Set
	Rules       ending.Rules
	Gate        *gating.Gate        // hears how attempts with ack work have ended
	Consumer    string              // CONSUMER_ID, for orders.processed_by
	Poll        time.Duration       // how long others sleep at most: who is due sooner is told to them
	SettlePause time.Duration       // that results wait for others at most
	RetryIn     func(time.Duration) // tells our own poller that a message will be due then
	Draining    func() bool
	NotifyLimit time.Duration // that a drain may take to tell others of what was handed back
	Room        signal.Signal // sent when leases have ended
	Unwritten   *Unwritten
	Tally       *presence.Tally
	Spans       spans.Spans
	Log         *slog.Logger
	Metrics     *metrics.Metrics
}

// Settler writes how leases end. It hands each outcome to a lane that writes outcomes of its kind: there is one for most of them, and
// several for acks with ack work.
type Settler struct {
	needs        Needs
	plain        *lane
	ackWorkLanes []*lane
	lanes        []*lane       // all of them
	ackWork      chan outcome  // to their lanes
	finishing    chan struct{} // closed when no delivery will be decided any more
	caughtUp     signal.Signal // a lane is not overdue any more
}

// LaneNeeds are what a lane has to itself.
type LaneNeeds struct {
	Link     *pg.Link
	Progress *health.Progress
	Note     func(ending.Op, error) // tells how a statement went
}

// New returns one without lanes for ack work. There are never more than most deliveries at a time.
func New(n Needs, plain LaneNeeds, most int) *Settler {
	s := &Settler{needs: n, ackWork: make(chan outcome, most), finishing: make(chan struct{}), caughtUp: signal.New()}
	s.plain = newLane(n, plain, make(chan outcome, most), s)
	s.lanes = []*lane{s.plain}
	return s
}

// Settle takes over a delivery that is leaving, because of what has happened to it.
func (s *Settler) Settle(d *lease.Delivery, what ending.Event) {
	s.Put(d, s.needs.Rules.Decide(&d.Message, what))
}

// Put takes over a delivery that is leaving, and of which it has been decided how.
func (s *Settler) Put(d *lease.Delivery, end ending.Ending) { s.enqueue(newOutcome(d, end)) }

// Doubt takes over a delivery of a read whose commit went unanswered: the lease may not be ours, and so it is handed back.
func (s *Settler) Doubt(d *lease.Delivery) {
	o := newOutcome(d, s.needs.Rules.Decide(&d.Message, ending.Unstarted{}))
	o.unsure, o.doubtful = true, true
	s.enqueue(o)
}

// Handled takes over a delivery whose handler has returned. It says false when the delivery has been given up meanwhile.
func (s *Settler) Handled(d *lease.Delivery, what ending.Returned) (first bool) {
	end, next := s.ended(d, what), lease.Leaving
	if end.Op == ending.Ack {
		next = lease.Acking
	}
	if !s.needs.Held.Decide(d, next) {
		return false
	}
	if end.Op != ending.Ack { // that is a success only when it has been written
		logFailure(s.needs.Log, &d.Message, end, what.Err)
	}
	s.countFailure(end)
	s.Put(d, end)
	return true
}

// HandledForAck takes over a delivery whose handler has returned and left work to be done with the ack: only then its attempt is over. It says
// false when the delivery has been given up meanwhile.
func (s *Settler) HandledForAck(d *lease.Delivery, work any) (first bool) {
	if !s.needs.Held.DecideAckWork(d) {
		return false
	}
	o := newOutcome(d, s.needs.Rules.Decide(&d.Message, ending.Returned{}))
	o.ackWork = work
	s.enqueue(o)
	return true
}

// GiveUp takes over a delivery, which is leaving, whose handler goes on although its deadline, limit after its start, is over.
func (s *Settler) GiveUp(d *lease.Delivery, limit time.Duration) {
	end := s.ended(d, ending.Overran(limit))
	s.countFailure(end)
	s.Put(d, end)
}

// ended decides how a delivery ends whose attempt is over. The gate hears of it first: what fails in an outage does not count.
func (s *Settler) ended(d *lease.Delivery, what ending.Returned) ending.Ending {
	return s.needs.Rules.Decide(&d.Message, s.needs.Gate.AttemptEnded(&d.Ticket, what))
}

// countFailure counts the failure of an attempt, if it has failed.
func (s *Settler) countFailure(end ending.Ending) {
	if end.Failure != "" {
		s.needs.Metrics.Failed.WithLabelValues(string(end.Failure)).Inc()
		s.needs.Tally.Failed()
	}
}

// enqueue hands an outcome to its lane. It never blocks: there are no more deliveries than there is room for, and one outcome of each.
func (s *Settler) enqueue(o outcome) {
	if o.statement().withAckWork() {
		s.ackWork <- o
		return
	}
	s.plain.in <- o
}

// Run runs the lane for all but ack work, until the settler was told to finish and nothing is left, or ctx ends.
func (s *Settler) Run(ctx context.Context) { s.plain.run(ctx) }

// RunAckWork runs the lanes for ack work until ctx ends. What they have not written then is handed back, and so is what handlers leave later, until
// none can any more, which is when handled ends.
func (s *Settler) RunAckWork(ctx, handled context.Context) {
	var lanes sync.WaitGroup
	for _, l := range s.ackWorkLanes {
		lanes.Go(func() {
			l.run(ctx)
			l.releaseRest()
		})
	}
	lanes.Wait()
	if len(s.ackWorkLanes) == 0 {
		return
	}
	last := s.ackWorkLanes[0]
	for {
		select {
		case o := <-s.ackWork:
			last.add(o)
			last.releaseRest()
			continue
		default:
		}
		if handled.Err() != nil {
			return
		}
		select {
		case o := <-s.ackWork:
			last.add(o)
			last.releaseRest()
		case <-handled.Done():
		}
	}
}

// Finish makes Run return as soon as everything is written.
func (s *Settler) Finish() { close(s.finishing) }

// settleFirst is how long reading waits for the results of an outage to be written.
const settleFirst = 10 * time.Second

// CatchUp has the results of an outage written, and waits for that, when the database is back: their leases may have run out meanwhile. Written
// before the next read they count; a read would take the messages over, and their handlers would run again. It returns soon in any case.
func (s *Settler) CatchUp(ctx context.Context) {
	for _, l := range s.lanes {
		if l.overdue.Load() {
			l.connect.Send()
		}
	}
	limit := time.NewTimer(settleFirst)
	defer limit.Stop()
	for s.Overdue() {
		select {
		case <-s.caughtUp:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Overdue says whether results wait for a connection.
func (s *Settler) Overdue() bool {
	return slices.ContainsFunc(s.lanes, func(l *lane) bool { return l.overdue.Load() })
}
