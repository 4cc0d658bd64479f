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
	readHealth            *health.Statements
	writeHealth           *health.Statements // by what a look at the queue says
	endHealth             map[ending.Op]*health.Statements
	workHealth            *health.Statements // by how the work of orders in the transaction of their ack goes
	unwritten             settle.Unwritten
	schemaReady, draining atomic.Bool
	deaf                  atomic.Bool // notifications do not get here, because of what is in between

	lookPause, settlePause              time.Duration // fetch.LookPause and settle.SettlePause, but for tests
	settleGrace, notifyLimit, goneLimit time.Duration // of a drain, likewise
}

// New prepares a consumer; it does not connect.
func New(s Settings, server *pg.Server, h handler.Handler, log *slog.Logger, m *metrics.Metrics) *Consumer {
	c := &Consumer{
		settings: s, server: server, handler: h, log: log, metrics: m,
		held: lease.NewSet(s.Concurrency), room: signal.New(),
		spans: spans.New(s.Tracer, server, s.Queue), now: time.Now, lookPause: fetch.LookPause, settlePause: settle.SettlePause,
		settleGrace: settleGrace, notifyLimit: settle.NotifyLimit, goneLimit: presence.GoneLimit,
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
	c.readHealth, c.writeHealth = health.NewStatements("reads", log), health.NewStatements("writes", log)
	c.workHealth = health.NewStatements("the work of orders in the transaction of their ack", log)
	c.endHealth = map[ending.Op]*health.Statements{}
	for op, what := range map[ending.Op]string{ending.Ack: "acks", ending.Nack: "nacks", ending.Bury: "burials", ending.Release: "releases"} {
		c.endHealth[op] = health.NewStatements(what, log)
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

	fetchLink := c.link("fetch", c.steps.fetch)
	defer fetchLink.Close()
	q, ok := c.waitForSchema(ctx, fetchLink)
	if !ok {
		return nil // told to stop before there was anything to do
	}
	p := c.assemble(q, fetchLink)
	defer p.closeLinks()

	// What outlives ctx: handlers until the drain's deadline, the settler and the heartbeats until all is written.
	handling, stopHandling := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopHandling(nil)
	writable, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	lanes, stopLanes := context.WithCancel(handling)
	defer stopLanes()
	handled, noteHandled := context.WithCancel(context.WithoutCancel(ctx))
	defer noteHandled()

	var readers, handlers, keepers, writers, workWriters sync.WaitGroup
	writers.Go(func() { p.settler.Run(writable) })
	workWriters.Go(func() { p.settler.RunAckWork(lanes, handled) })
	keepers.Go(func() { p.deadlines.Run(keeping) })
	keepers.Go(func() { p.heartbeats.Run(keeping) })
	for range s.Concurrency {
		handlers.Go(func() { p.workers.run(handling) })
	}
	readers.Go(func() { p.poller.Run(ctx) })
	readers.Go(func() { p.fetcher.Run(ctx) })

	<-ctx.Done()
	c.draining.Store(true)
	defer p.reporter.Drain(writable, finished(&readers))()
	(&drain{
		held: c.held, buffer: p.buffer, settler: p.settler, readers: &readers, workers: &handlers, stopHandling: stopHandling,
		limit: s.Drain, log: c.log,
	}).run()
	stopLanes()
	noteHandled()
	workWriters.Wait()
	stopKeeping()
	keepers.Wait()

	// Nobody decides a delivery any more. The settler ends when the last one is written, or when its time is up.
	p.settler.Finish()
	limit := time.AfterFunc(c.settleGrace, stopWriting)
	defer limit.Stop()
	writers.Wait()
	if left := c.held.Size(); left > 0 {
		return fmt.Errorf("%d leases could not be written back; they end with their visibility timeout", left)
	}
	c.log.Info("drained: nothing is left behind")
	return nil
}
