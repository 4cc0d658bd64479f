// Package worker is the consumer: it makes the parts of the pipeline, gives each what it needs, runs the handlers, and drains. What a part
// does is its own package's business.
//
//	fetch.Poller ─wake──▶ fetch.Fetcher ──▶ fetch.Buffer ──▶ workers ──▶ settle.Settler
//	(LISTEN, peek)        (read)            (bounded)        (handlers)  (ack, nack, release, bury)
//	                             ▲ lease.Heartbeats and lease.Deadlines ▲
//
// It must never let fetching and handling share a context: stopping the one must not stop the other.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/fetch"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/settle"
	"orderflow.example/services/consumer/internal/signal"
	"orderflow.example/services/consumer/internal/spans"
)

// Settings are what a consumer is told. All are required but the tracer; a Batch or Prefetch of 0 adapts to how long handlers take.
type Settings struct {
	ID             string
	Queue          string
	Batch          int // messages of one read at most; 0: adaptive
	Concurrency    int
	Prefetch       int   // 0: adaptive
	HeldBytes      int64 // of bodies and headers in memory; a single message may go beyond it
	MessageBytes   int32 // of one message; a larger one goes to the dead letters unseen
	MaxAttempts    int
	MaxCrashes     int           // known ones, of consumers that worked on nothing else
	Visible        time.Duration // visibility timeout
	HandlerTimeout time.Duration
	AckWorkLanes   int // transactions at a time for ack work
	Drain          time.Duration
	Poll           time.Duration
	Backoff        backoff.Policy
	Breaker        gating.Breaker
	Tracer         *tracing.Tracer // nil: none
}

// Consumer consumes one queue. Make it with New and call Run once.
type Consumer struct {
	settings Settings
	server   *pg.Server
	handler  handler.Handler
	runner   effect.Runner // of the ack work that the handler leaves; nil: it leaves none
	log      *slog.Logger
	metrics  *metrics.Metrics

	held     *lease.Set
	room     signal.Signal // there may be room for more messages
	demand   *fetch.Demand
	gate     *gating.Gate
	presence *presence.Presence
	spans    spans.Spans

	now                   func() time.Time // the clock that steps are measured by
	steps                 steps
	reads                 *health.Statements
	writing               *health.Statements // by what a look at the queue says
	writes                map[ending.Op]*health.Statements
	working               *health.Statements // by how the work of orders in the transaction of their ack goes
	unwritten             settle.Unwritten
	schemaReady, draining atomic.Bool
	deaf                  atomic.Bool // notifications do not get here, because of what is in between

	lookPause, ackPause time.Duration // fetch.LookPause and settle.AckPause, but for tests
}

// New prepares a consumer; it does not connect.
func New(s Settings, server *pg.Server, h handler.Handler, log *slog.Logger, m *metrics.Metrics) *Consumer {
	c := &Consumer{
		settings: s, server: server, handler: h, log: log, metrics: m,
		held: lease.NewSet(s.Concurrency), room: signal.New(),
		spans: spans.New(s.Tracer, server, s.Queue), now: time.Now, lookPause: fetch.LookPause, ackPause: settle.AckPause,
	}
	lanes := 0
	if leavesWork, ok := h.(effect.Handler); ok {
		c.runner, lanes = leavesWork.Runner(), min(s.AckWorkLanes, s.Concurrency)
	}
	c.steps = newSteps(lanes, func() time.Time { return c.now() })
	c.demand = fetch.NewDemand(fetch.Limits{
		Batch: s.Batch, Concurrency: s.Concurrency, Prefetch: s.Prefetch, HeldBytes: s.HeldBytes, MessageBytes: s.MessageBytes,
	}, c.steps.stuck)
	c.gate = gating.New(gating.Settings{
		ID: s.ID, Concurrency: s.Concurrency, HandlerTimeout: s.HandlerTimeout, Grace: lease.GraceOf(s.Visible, s.HandlerTimeout), Breaker: s.Breaker,
	}, log, m)
	c.presence = presence.New(s.ID, s.Concurrency, s.Poll, c.held, c.draining.Load, log)
	m.Holding(func() metrics.Holding {
		now := c.held.Counts()
		return metrics.Holding{InFlight: now.InFlight, Buffered: now.Buffered, Held: now.Held, Stuck: now.Stuck}
	})
	c.reads, c.writing = health.NewStatements("reads", log), health.NewStatements("writes", log)
	c.working = health.NewStatements("the work of orders in the transaction of their ack", log)
	c.writes = map[ending.Op]*health.Statements{}
	for o, what := range map[ending.Op]string{ending.Ack: "acks", ending.Nack: "nacks", ending.Bury: "burials", ending.Release: "releases"} {
		c.writes[o] = health.NewStatements(what, log)
	}
	return c
}

// Run consumes until ctx ends, then drains: it hands back what has not been started, gives handlers Settings.Drain to
// finish, writes what is left, and returns. An error means that leases were left behind to expire.
//
// A handler that ignores even the cancellation at the end of the drain is left running.
func (c *Consumer) Run(ctx context.Context) error {
	s := c.settings
	c.log.Info("Starting consumer for queue: "+s.Queue, "consumer_id", s.ID)
	batch := strconv.Itoa(s.Batch)
	if s.Batch == 0 {
		batch = fmt.Sprintf("up to %d", c.demand.Most())
	}
	c.log.Info(fmt.Sprintf("Batch size: %s, Visibility timeout: %s", batch, s.Visible),
		"concurrency", s.Concurrency, "max_attempts", s.MaxAttempts, "handler_timeout", s.HandlerTimeout.String())

	reading := c.link("fetch", c.steps.fetch)
	defer reading.Close()
	q, ok := c.waitForSchema(ctx, reading)
	if !ok {
		return nil // told to stop before there was anything to do
	}
	writing := c.link("settle", c.steps.settle)
	defer writing.Close()
	beating := c.link("heartbeat", c.steps.heartbeat)
	defer beating.Close()
	poller := fetch.NewPoller(fetch.PollerNeeds{
		Server: c.server, Queue: q, Interval: s.Poll, Visible: s.Visible, LookPause: c.lookPause, Deaf: &c.deaf, Gate: c.gate, Presence: c.presence,
		Progress: c.steps.poll, Writing: c.writing, Log: c.log, Metrics: c.metrics,
	})
	defer poller.Link().Close()

	// What outlives ctx: handlers until the drain's deadline, the settler and the heartbeats until all is written.
	handling, stopHandling := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopHandling(nil)
	writable, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	lanes, stopLanes := context.WithCancel(handling)
	defer stopLanes()

	rules, term := ending.NewRules(s.MaxAttempts, s.MaxCrashes, s.Backoff), lease.NewTerm(s.Visible, c.log)
	heartbeats := &lease.Heartbeats{
		Link: beating, Queue: q, Held: c.held, Term: term, Consumer: s.ID, Progress: c.steps.heartbeat, Log: c.log, Metrics: c.metrics,
	}
	settler := settle.New(settle.Needs{
		Queue: q, Held: c.held, Rules: rules, Gate: c.gate, Consumer: s.ID, Poll: s.Poll, AckPause: c.ackPause, RetryIn: poller.RetryIn,
		Draining: c.draining.Load, Room: c.room, Unwritten: &c.unwritten, Tally: &c.presence.Tally, Spans: c.spans, Log: c.log, Metrics: c.metrics,
	}, settle.LaneNeeds{
		Link: writing, Progress: c.steps.settle, Note: func(o ending.Op, err error) { c.writes[o].Note(err) },
	}, c.demand.MostHeld())
	defer settler.AddAckWork(c.server, settle.AckWork{
		Runner: c.runner, Limit: s.HandlerTimeout, Heartbeats: heartbeats, Took: c.ackWorkTook, Note: c.working.Note, Lanes: c.steps.ackWork,
	})()
	buffer := fetch.NewBuffer(c.demand.MostHeld(), c.held, c.gate, settler)
	handlers := &workers{
		timeout: s.HandlerTimeout, call: newCall(c.handler, c.log), buffer: buffer, room: c.room, demand: c.demand, held: c.held, gate: c.gate,
		heartbeats: heartbeats, settler: settler, draining: c.draining.Load, spans: c.spans, log: c.log, metrics: c.metrics,
	}
	fetcher := &fetch.Fetcher{
		Link: reading, Queue: q, Demand: c.demand, Room: c.room, Poller: poller, Gate: c.gate, Term: term, Held: c.held,
		Rules: rules, Buffer: buffer, Settler: settler, Progress: c.steps.fetch, Reads: c.reads, Spans: c.spans, Log: c.log, Metrics: c.metrics,
	}
	deadlines := &lease.Deadlines{
		Held: c.held, Visible: s.Visible, Grace: lease.GraceOf(s.Visible, s.HandlerTimeout), Room: c.room, Log: c.log, Metrics: c.metrics,
		GiveUp: func(d *lease.Delivery) {
			settler.Settle(d, c.gate.AttemptEnded(&d.Ticket, ending.Overran(s.HandlerTimeout)))
		},
	}
	reporter := &presence.Reporter{Presence: c.presence, Link: poller.Link(), Queue: q, Progress: c.steps.poll}

	var readers, working, keepers, writers, workWriters sync.WaitGroup
	writers.Go(func() { settler.Run(writable) })
	workWriters.Go(func() { settler.RunAckWork(lanes) })
	keepers.Go(func() { deadlines.Run(keeping) })
	keepers.Go(func() { heartbeats.Run(keeping) })
	for range s.Concurrency {
		working.Go(func() { handlers.run(handling) })
	}
	readers.Go(func() { poller.Run(ctx) })
	readers.Go(func() { fetcher.Run(ctx) })

	<-ctx.Done()
	c.draining.Store(true)
	defer reporter.Drain(writable, finished(&readers))()
	(&drain{
		held: c.held, buffer: buffer, settler: settler, readers: &readers, workers: &working, stopHandling: stopHandling,
		limit: s.Drain, log: c.log,
	}).run()
	stopLanes()
	workWriters.Wait()
	stopKeeping()
	keepers.Wait()

	// Nobody decides a delivery any more. The settler ends when the last one is written, or when its time is up.
	settler.Finish()
	limit := time.AfterFunc(settleGrace, stopWriting)
	defer limit.Stop()
	writers.Wait()
	if left := c.held.Size(); left > 0 {
		return fmt.Errorf("%d leases could not be written back; they end with their visibility timeout", left)
	}
	c.log.Info("drained: nothing is left behind")
	return nil
}

// link returns a link whose steps are watched.
func (c *Consumer) link(name string, steps *health.Progress) *pg.Link {
	l := c.server.NewLink(name, nil)
	l.Watch(steps.Begin)
	return l
}

// ackWorkTook counts how long a transaction with so many orders took, as the workers would: there are so many more of them than lanes.
func (c *Consumer) ackWorkTook(orders int, took time.Duration) {
	c.demand.Occupied(orders, took*time.Duration(c.settings.Concurrency)/time.Duration(len(c.steps.ackWork)))
}
