// Package worker owns the pipeline: fetcher → bounded buffer → workers → settler, with the heartbeats that extend leases and the
// poller that knows when there is something to fetch. Each is a goroutine with a connection of its own where it needs one.
//
//	poller ─wake──▶ fetcher ──▶ buffer ──▶ workers ──▶ settler
//	(LISTEN, peek)  (read)      (bounded)  (handlers)  (ack, nack, release, bury)
//	                               ▲ heartbeats and deadlines ▲
//
// It must never work on a message before its read has committed, never end a lease without checking it, never hold more
// than it can work on soon, and never let fetching and handling share a context: stopping the one must not stop the other.
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
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
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
	Breaker        Breaker
	Tracer         *tracing.Tracer // nil: none
}

// Consumer consumes one queue. Make it with New and call Run once.
type Consumer struct {
	settings      Settings
	endings       endings
	server        *pg.Server
	call          call
	leavesAckWork effect.Handler // the handler, if it leaves ack work
	log           *slog.Logger
	metrics       *metrics.Metrics

	queue   *queue.Queue // set when the schema is there
	held    *held
	buffer  *buffer
	load    *load
	company *company
	spans   spans

	gate     *gating
	presence *presence
	settler  *settler

	schemaReady, draining atomic.Bool
	deaf                  atomic.Bool // notifications do not get here, because of what is in between
	steps                 steps
	reads                 health
	writing               health // by what an idle look at the queue says
	writes                [operations]health
	working               health // by how the work of orders in the transaction of their ack goes
	unwritten             unwritten

	lookPause, ackPause time.Duration // see the constants
}

// New prepares a consumer; it does not connect.
func New(s Settings, server *pg.Server, h handler.Handler, log *slog.Logger, m *metrics.Metrics) *Consumer {
	c := &Consumer{settings: s, endings: endings{newRules(s.MaxAttempts, s.MaxCrashes, s.Backoff), m, &tally{}}, server: server, call: newCall(h, log), log: log, metrics: m, company: newCompany(s.Concurrency), lookPause: lookPause, ackPause: ackPause}
	c.held = newHeld(c.company)
	c.spans = newSpans(s.Tracer, server, s.Queue)
	c.presence = newPresence(s, c.endings.tally, c.held, c.draining.Load, log)
	if leavesWork, ok := h.(effect.Handler); ok {
		c.leavesAckWork = leavesWork
		c.steps.ackWork = make([]progress, min(s.AckWorkLanes, s.Concurrency))
	}
	c.working.what, c.working.log = "the work of orders in the transaction of their ack", log
	c.load = newLoad(s, c.held, &c.steps.stuck)
	c.gate = newGating(s, log, m)
	c.watchSteps(time.Now)
	c.reads.what, c.reads.log = "reads", log
	c.writing.what, c.writing.log = "writes", log
	for o := range operations {
		c.writes[o].what, c.writes[o].log = o.plural(), log
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
		batch = fmt.Sprintf("up to %d", c.load.most())
	}
	c.log.Info(fmt.Sprintf("Batch size: %s, Visibility timeout: %s", batch, s.Visible),
		"concurrency", s.Concurrency, "max_attempts", s.MaxAttempts, "handler_timeout", s.HandlerTimeout.String())

	reading := c.server.NewLink("fetch", nil)
	reading.Watch(c.steps.fetch.begin)
	defer reading.Close()
	if !c.waitForSchema(ctx, reading) {
		return nil // told to stop before there was anything to do
	}
	writing := c.server.NewLink("settle", nil)
	writing.Watch(c.steps.settle.begin)
	defer writing.Close()
	beating := c.server.NewLink("heartbeat", nil)
	beating.Watch(c.steps.heartbeat.begin)
	defer beating.Close()
	lease, watermark := &lease{visible: s.Visible, log: c.log}, &watermark{}
	poller := &poller{
		queue: c.queue, watermark: watermark, interval: s.Poll, lookPause: c.lookPause, deaf: &c.deaf, progress: &c.steps.poll, writing: &c.writing, log: c.log, metrics: c.metrics,
		gate: c.gate, presence: c.presence, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	poller.link = c.server.NewListeningLink("listen", poller.prepare)
	poller.link.Watch(c.steps.poll.begin)
	defer poller.link.Close()

	// What outlives ctx: handlers until the drain's deadline, the settler and the heartbeats until all is written.
	handling, stopHandling := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopHandling(nil)
	writable, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()

	c.gate.queue = c.queue
	parts := settling{
		queue: c.queue, held: c.held, endings: c.endings, consumer: s.ID, poll: s.Poll, ackPause: c.ackPause, retryIn: poller.retryIn, draining: c.draining.Load,
		room: c.load.room, progress: &c.steps.settle, note: func(o op, err error) { c.writes[o].note(err) }, unwritten: &c.unwritten,
		gate: c.gate, log: c.log, metrics: c.metrics, spans: c.spans,
	}
	c.settler = newSettler(parts, writing, c.load.mostHeld)
	defer c.addAckWorkLanes(parts, lease)()
	lanes, stopLanes := context.WithCancel(handling)
	defer stopLanes()
	beat := &heartbeats{
		link: beating, queue: c.queue, held: c.held, lease: lease, progress: &c.steps.heartbeat, consumer: s.ID, log: c.log, metrics: c.metrics,
	}
	c.buffer = &buffer{waiting: make(chan *delivery, c.load.mostHeld), held: c.held, gate: c.gate, endings: c.endings, settler: c.settler}
	handlers := &workers{
		concurrency: s.Concurrency, timeout: s.HandlerTimeout, call: c.call, buffer: c.buffer, load: c.load, company: c.company, held: c.held, gate: c.gate,
		heartbeats: beat, endings: c.endings, settler: c.settler, draining: c.draining.Load, spans: c.spans, log: c.log, metrics: c.metrics,
	}
	fetcher := &fetcher{
		link: reading, queue: c.queue, concurrency: s.Concurrency, load: c.load, gate: c.gate, lease: lease, watermark: watermark, held: c.held, buffer: c.buffer,
		endings: c.endings, settler: c.settler, poller: poller, progress: &c.steps.fetch, health: &c.reads, spans: c.spans, log: c.log, metrics: c.metrics,
	}
	var readers, workers, keepers, writers, workWriters sync.WaitGroup
	writers.Go(func() { c.settler.run(writable) })
	workWriters.Go(func() { c.settler.runAckWork(lanes) })
	keepers.Go(func() {
		(&deadlines{
			held: c.held, visible: s.Visible, grace: graceOf(s.Visible, s.HandlerTimeout), room: c.load.room, log: c.log, metrics: c.metrics,
			giveUp: func(d *delivery) {
				c.settler.put(c.endings.outcome(d, overrun{!c.gate.ended(d, gate.Unavailable, s.HandlerTimeout, handler.ErrTimeout)}))
			},
		}).run(keeping)
	})
	keepers.Go(func() { beat.run(keeping) })
	for range s.Concurrency {
		workers.Go(func() { handlers.run(handling) })
	}
	readers.Go(func() { poller.run(ctx) })
	readers.Go(func() { fetcher.run(ctx) })

	<-ctx.Done()
	c.draining.Store(true)
	sayGone := c.reportDrain(writable, poller.link, &readers)
	defer sayGone()
	c.drain(&readers, &workers, stopHandling)
	stopLanes()
	workWriters.Wait()
	stopKeeping()
	keepers.Wait()

	// Nobody decides a delivery any more. The settler ends when the last one is written, or when its time is up.
	c.settler.finish()
	limit := time.AfterFunc(settleGrace, stopWriting)
	defer limit.Stop()
	writers.Wait()
	if left := c.held.size.Load(); left > 0 {
		return fmt.Errorf("%d leases could not be written back; they end with their visibility timeout", left)
	}
	c.log.Info("drained: nothing is left behind")
	return nil
}

// addAckWorkLanes opens what it takes to do ack work, if the handler leaves any. The function that it returns closes it.
func (c *Consumer) addAckWorkLanes(parts settling, lease *lease) (closeLinks func()) {
	if c.leavesAckWork == nil {
		return func() {}
	}
	s := c.settings
	n := len(c.steps.ackWork)
	parts.note = func(_ op, err error) { c.working.note(err) }
	var links []*pg.Link
	for i := range n {
		w := &ackWork{runner: c.leavesAckWork.Runner(), limit: s.HandlerTimeout, lease: lease, took: func(orders int, took time.Duration) {
			// As the workers would count it: there are so many more of them than lanes.
			c.load.occupied(orders, took*time.Duration(s.Concurrency)/time.Duration(n))
		}}
		link := newAckWorkLink(c.server, w)
		parts.progress = &c.steps.ackWork[i]
		link.Watch(parts.progress.begin)
		links = append(links, link)
		c.settler.addAckWorkLane(parts, link, w)
	}
	return func() {
		for _, link := range links {
			link.Close()
		}
	}
}
