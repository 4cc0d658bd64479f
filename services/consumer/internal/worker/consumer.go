// Package worker owns the pipeline: fetcher → bounded buffer → workers → settler, with the heartbeats that extend leases and the
// poller that knows when there is something to fetch. Each is a goroutine with a connection of its own where it needs one.
//
//	poller ─wake──▶ fetcher ──▶ buffer ──▶ workers ──▶ settler
//	(LISTEN, peek)  (read)      (bounded)  (handlers)  (ack, nack, release, bury)
//	                               ▲ heartbeats and deadlines ▲
//
// It must never work on a message before its read has committed, never end a lease without checking it, never hold more
// than it can work on soon, and never let fetching and working share a context: stopping the one must not stop the other.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Settings are what a consumer is told. All but the tracer are required.
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
	WorkLanes      int // transactions at a time for work that the handler leaves to the ack
	Drain          time.Duration
	Poll           time.Duration
	Backoff        backoff.Policy
	Breaker        Breaker
	Tracer         *tracing.Tracer // nil: none
}

// Times that a drain may take beyond Settings.Drain.
const (
	fetchGrace   = time.Second            // for a read in flight
	handlerGrace = time.Second            // for cancelled handlers to return
	settleGrace  = 2 * time.Second        // to write what is left
	notifyLimit  = 500 * time.Millisecond // to tell others of what was handed back
)

// Consumer consumes one queue. Make it with New and call Run once.
type Consumer struct {
	settings   Settings
	endings    endings
	server     *pg.Server
	handler    handler.Handler
	leavesWork effect.Handler // the handler, if it leaves work to the ack
	log        *slog.Logger
	metrics    *metrics.Metrics

	queue     *queue.Queue // set when the schema is there
	held      *held
	buffer    chan *delivery
	load      *load
	company   *company
	spans     spans
	lease     lease
	watermark watermark

	gate       *gating
	presence   *presence
	heartbeats *heartbeats
	poller     *poller
	settler    *settler

	schemaReady, draining atomic.Bool
	deaf                  atomic.Bool // notifications do not get here, because of what is in between
	steps                 steps
	reads                 health
	writing               health // by what an idle look at the queue says
	writes                [operations]health
	effects               health
	unwritten             unwritten
	lastReceived          time.Time // of a log line; the fetcher's
}

// New prepares a consumer; it does not connect.
func New(s Settings, server *pg.Server, h handler.Handler, log *slog.Logger, m *metrics.Metrics) *Consumer {
	c := &Consumer{settings: s, endings: endings{newRules(s.MaxAttempts, s.MaxCrashes, s.Backoff), m, &tally{}}, server: server, handler: h, log: log, metrics: m, company: newCompany(s.Concurrency)}
	c.held = newHeld(c.company)
	c.spans = newSpans(s.Tracer, s.Queue)
	c.presence = newPresence(s, c.endings.tally, c.held, c.draining.Load, log)
	if leavesWork, ok := h.(effect.Handler); ok {
		c.leavesWork = leavesWork
		c.steps.work = make([]progress, min(s.WorkLanes, s.Concurrency))
	}
	c.effects.doing, c.effects.log = "doing the work of orders in the transaction of their ack", log
	c.load = newLoad(s, c.held, &c.steps.stuck)
	c.gate = newGating(s, log, m)
	c.watchSteps(time.Now)
	c.lease.visible, c.lease.log = s.Visible, log
	c.buffer = make(chan *delivery, c.load.mostHeld)
	c.reads.doing, c.reads.log = "reading messages", log
	c.writing.doing, c.writing.log = "writing", log
	for o := range operations {
		c.writes[o].doing, c.writes[o].log = "writing results ("+o.String()+")", log
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
	listening := c.server.NewListeningLink("listen", c.listen)
	listening.Watch(c.steps.poll.begin)
	defer listening.Close()

	// What outlives ctx: handlers until the drain's deadline, the settler and the heartbeats until all is written.
	working, stopWorking := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopWorking(nil)
	writable, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()

	c.gate.queue = c.queue
	c.poller = newPoller(c, listening)
	parts := settling{
		queue: c.queue, held: c.held, endings: c.endings, consumer: s.ID, poll: s.Poll, retryIn: c.poller.retryIn, draining: c.draining.Load,
		room: c.load.room, progress: &c.steps.settle, note: func(o op, err error) { c.writes[o].note(err) }, unwritten: &c.unwritten,
		judge: c.judged, log: c.log, metrics: c.metrics, spans: c.spans,
	}
	c.settler = newSettler(parts, writing, c.load.mostHeld)
	defer c.addWorkLanes(parts)()
	lanes, stopLanes := context.WithCancel(working)
	defer stopLanes()
	c.heartbeats = &heartbeats{
		link: beating, queue: c.queue, held: c.held, lease: &c.lease, progress: &c.steps.heartbeat, consumer: s.ID, log: c.log, metrics: c.metrics,
	}
	var readers, workers, keepers, writers, workWriters sync.WaitGroup
	writers.Go(func() { c.settler.run(writable) })
	workWriters.Go(func() { c.settler.runWork(lanes) })
	keepers.Go(func() {
		(&deadlines{
			held: c.held, visible: s.Visible, grace: graceOf(s.Visible, s.HandlerTimeout), room: c.load.room, log: c.log, metrics: c.metrics,
			giveUp: func(d *delivery) {
				c.settler.put(c.endings.outcome(d, overrun{!c.gate.ended(d, gate.Unavailable, handler.ErrTimeout)}))
			},
		}).run(keeping)
	})
	keepers.Go(func() { c.heartbeats.run(keeping) })
	for range s.Concurrency {
		workers.Go(func() { c.work(working) })
	}
	readers.Go(func() { c.poller.run(ctx) })
	readers.Go(func() { c.fetch(ctx, reading) })

	<-ctx.Done()
	c.draining.Store(true)
	takeLeave := c.reportDrain(writable, listening, &readers)
	defer takeLeave()
	c.drain(&readers, &workers, stopWorking)
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

// listen prepares the poller's connection. Through a pooler in transaction mode a LISTEN would be heard by nobody, and left behind on a
// connection that is somebody else's next.
func (c *Consumer) listen(ctx context.Context, conn *pgx.Conn) error {
	deaf := postgres.Transactional(conn)
	if was := c.deaf.Swap(deaf); was != deaf && deaf {
		c.log.Info("a connection pooler in transaction mode is in between: looking for messages instead of listening",
			"every", min(c.settings.Poll, pollDeaf).String())
	} else if was != deaf {
		c.log.Info("the connection pooler is not in transaction mode any more: listening")
	}
	if deaf {
		return nil
	}
	_, err := conn.Exec(ctx, "listen "+pgx.Identifier{c.queue.Channel()}.Sanitize())
	return err
}

// drain brings every delivery to its decision.
func (c *Consumer) drain(readers, workers *sync.WaitGroup, stopWorking context.CancelCauseFunc) {
	c.company.close()
	c.log.Info("draining: no more messages are fetched",
		"in_flight", c.held.working.Load()+c.held.inAck.Load(), "buffered", c.held.waiting.Load(), "timeout", c.settings.Drain.String())
	c.releaseBuffered(cap(c.buffer))
	fetched := finished(readers)
	worked := make(chan struct{})
	go func() { // ends with the workers; those that never end are what the drain leaves behind
		<-fetched
		c.releaseBuffered(cap(c.buffer))
		close(c.buffer) // the workers' end; the fetcher was the only one to send
		workers.Wait()
		c.held.workDone()
		close(worked)
	}()
	if within(worked, c.settings.Drain) {
		return
	}
	c.log.Warn("DRAIN_TIMEOUT is over: running handlers are cancelled", "in_flight", c.held.working.Load()+c.held.inAck.Load())
	stopWorking(handler.ErrDraining)
	if within(worked, handlerGrace) {
		return
	}
	within(fetched, fetchGrace) // with no time to drain a read may still be under way
	c.releaseBuffered(cap(c.buffer))
	for _, d := range c.held.abandon(time.Time{}, 0) {
		c.logAbout(slog.LevelWarn, "handler ignores its cancellation and is left behind; its message is handed back", &d.msg)
		c.settler.put(c.endings.outcome(d, unstarted{}))
	}
}

// releaseBuffered hands back what no worker has taken, up to so many messages.
func (c *Consumer) releaseBuffered(most int) {
	for range most {
		select {
		case d, open := <-c.buffer:
			if !open {
				return
			}
			c.handBack(d)
		default:
			return
		}
	}
}

// handBack gives back what no handler will be given. It keeps its place before what has become due since.
func (c *Consumer) handBack(d *delivery) {
	c.gate.unused(d)
	if c.held.decide(d, leaving) {
		c.settler.put(c.endings.outcome(d, unstarted{ago: time.Since(d.due)}))
	}
}

// addWorkLanes opens what it takes to do the work that the handler leaves to the ack, if it leaves any. The function that it returns closes it.
func (c *Consumer) addWorkLanes(parts settling) (closeLinks func()) {
	if c.leavesWork == nil {
		return func() {}
	}
	s := c.settings
	n := len(c.steps.work)
	parts.note = func(_ op, err error) { c.effects.note(err) }
	var links []*pg.Link
	for i := range n {
		w := &work{runner: c.leavesWork.Runner(), limit: s.HandlerTimeout, lease: &c.lease, took: func(orders int, took time.Duration) {
			// As the workers would count it: there are so many more of them than lanes.
			c.load.worked(orders, took*time.Duration(s.Concurrency)/time.Duration(n))
		}}
		link := newWorkLink(c.server, w)
		parts.progress = &c.steps.work[i]
		link.Watch(parts.progress.begin)
		links = append(links, link)
		c.settler.addWorkLane(parts, link, w)
	}
	return func() {
		for _, link := range links {
			link.Close()
		}
	}
}

// waitForSchema waits until the database has what we were built for. It says false when ctx ended first.
func (c *Consumer) waitForSchema(ctx context.Context, link *pg.Link) bool {
	var retry backoff.Retry
	said := ""
	for ctx.Err() == nil {
		var d queue.Description
		var unfit *effect.UnfitError
		err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			d, err = queue.New(c.settings.Queue, false).Describe(ctx, conn)
			if err == nil && d.Ready() {
				c.queue = queue.New(c.settings.Queue, d.LastRead)
				err = c.queue.ReadInstallation(ctx, conn)
			}
			if err == nil && d.Ready() && c.leavesWork != nil {
				err = c.leavesWork.Runner().Prepare(ctx, conn)
			}
			return err
		})
		if errors.As(err, &unfit) {
			c.effects.note(err)
		} else {
			c.reads.note(err)
		}
		c.steps.fetch.end()
		if err == nil && d.Ready() {
			c.effects.note(nil)
			c.schemaReady.Store(true)
			c.metrics.SchemaReady.Set(1)
			return true
		}
		if now := d.String(); err == nil && now != said {
			c.log.Warn("waiting for the database's schema: run `api migrate`, or start the api", "found", now)
			said = now
		}
		pause(ctx, retry.Next())
	}
	return false
}

// Ready says whether the consumer can do its work at present, and if not, why.
func (c *Consumer) Ready() (ok bool, why string) {
	reachable, since, why := c.server.Reachable()
	switch {
	case c.draining.Load():
		return false, "draining"
	case !reachable:
		return false, why + " since " + since.UTC().Format(time.RFC3339)
	case c.reads.now() != "":
		return false, "reading is refused: " + c.reads.now()
	case c.effects.now() != "":
		return false, c.effects.now()
	case c.writing.now() != "":
		return false, "writing is refused: " + c.writing.now()
	case !c.schemaReady.Load():
		return false, "database schema is not there yet"
	}
	for o := range operations {
		if refused := c.writes[o].now(); refused != "" {
			return false, "writing is refused: " + refused
		}
	}
	if kept := c.unwritten.now(); kept != "" {
		return false, kept
	}
	if refused := c.gate.health.now(); refused != "" {
		return false, "sharing the breaker's state is refused: " + refused
	}
	status := cmp.Or(c.gate.status(), "consuming")
	if c.deaf.Load() {
		status += "; looking for messages every " + min(c.settings.Poll, pollDeaf).String() + " instead of listening, because of a connection pooler in transaction mode"
	}
	return true, status
}

func finished(group *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}

func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
