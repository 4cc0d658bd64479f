package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// fetch reads messages while there is room for them and something to read, until ctx ends. A read in flight at that moment
// is completed, and its messages are handed back.
func (c *Consumer) fetch(ctx context.Context, link *pg.Link) {
	// Reading has a context that outlives ctx for a moment: breaking off a read would only make its outcome unknown.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(fetchGrace, stop) })()

	var retry backoff.Retry
	for ctx.Err() == nil {
		c.releaseBuffered(c.load.surplus())
		want, ahead := c.load.want()
		c.metrics.Prefetch.Set(float64(ahead))
		p, err := c.askGate(reading, link, want.Messages)
		if err != nil {
			pause(ctx, retry.Next())
			continue
		}
		if p.shut {
			c.releaseBuffered(cap(c.buffer))
		}
		if p.fetch == 0 {
			c.awaitPermit(ctx, p, want.Messages > 0)
			continue
		}
		want.Messages = p.fetch
		got, took, err := c.read(ctx, reading, link, want, p)
		c.load.noteRead(want.Messages, got, took, err)
		switch {
		case err != nil:
			pause(ctx, retry.Next())
		case got < want.Messages:
			retry.Reset()
			c.poller.fetched(got)
			c.awaitDue(ctx, p)
		default:
			retry.Reset()
		}
	}
}

// askGate asks the gate whether to fetch.
func (c *Consumer) askGate(reading context.Context, link *pg.Link, want int) (permit, error) {
	c.steps.fetch.begin(0)
	defer c.steps.fetch.end()
	return c.gate.ask(reading, link, want)
}

// awaitPermit waits until fetching may be possible: until the gate may permit it or, when nothing is wanted, until there may be room.
func (c *Consumer) awaitPermit(ctx context.Context, p permit, wanted bool) {
	room, due := c.load.room, c.poller.wake
	if wanted {
		room = nil
	}
	if !p.shut {
		due = nil
	}
	later, stop := after(p.wait)
	defer stop()
	select {
	case <-room:
	case <-due:
		c.gate.hasDue()
	case <-c.gate.changed:
	case <-later:
	case <-ctx.Done():
	}
}

// awaitDue waits until something may be due.
func (c *Consumer) awaitDue(ctx context.Context, p permit) {
	later, stop := after(p.wait * 10) // a limit is lifted when it holds nothing back any more
	defer stop()
	select {
	case <-c.poller.wake:
		c.gate.hasDue()
	case <-c.gate.changed:
	case <-later:
	case <-ctx.Done():
	}
}

// after is a timer's channel; for 0 it never comes.
func after(d time.Duration) (c <-chan time.Time, stop func()) {
	if d <= 0 {
		return nil, func() {}
	}
	timer := time.NewTimer(d)
	return timer.C, func() { timer.Stop() }
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

// read leases messages and hands them on.
func (c *Consumer) read(ctx, reading context.Context, link *pg.Link, want queue.Bounds, p permit) (got int, took time.Duration, err error) {
	c.steps.fetch.begin(0)
	defer c.steps.fetch.end()
	var fetched queue.Fetched
	start := time.Now()
	bound, until := c.watermark.bound()
	want.Watermark = bound
	length := c.lease.length()
	err = link.Do(reading, func(limited context.Context, conn *pgx.Conn) (err error) {
		c.letSettle(ctx)
		start = time.Now() // connecting may have taken its time, and the lease begins with the statement
		if unreadable := c.load.unreadable; unreadable != nil {
			fetched, err = c.queue.FetchUnreadable(limited, conn, want, length)
		} else {
			fetched, err = c.queue.Fetch(limited, conn, want, length)
		}
		return err
	})
	took = time.Since(start)
	c.metrics.StatementSeconds.WithLabelValues("fetch").Observe(took.Seconds())
	c.reads.note(err)
	if err != nil {
		// Whether the leases are ours is not known, and so nobody may work on these messages. Handing them back
		// frees them when they are, and does nothing when they are not.
		c.doubt(fetched.Messages, start.Add(length))
		c.gate.fetched(p, p.fetch, nil)
		return 0, took, err
	}
	if len(fetched.Suppressed) > 0 {
		c.reads.suppressedRead(fetched.Suppressed)
	}
	if len(fetched.Messages) > 0 {
		c.lease.note(took)
	}
	c.watermark.looked(bound, took, len(fetched.Messages), fetched.Last)
	if !bound.IsZero() {
		c.poller.retryIn(time.Until(until)) // what is due below the watermark
	}
	c.metrics.FetchBatch.Observe(float64(len(fetched.Messages)))
	c.receive(ctx, fetched.Messages, start, start.Add(length), p)
	return len(fetched.Messages), took, nil
}

// settleFirst is how long reading waits for the results of an outage to be written.
const settleFirst = time.Second

// letSettle waits, once the database is back, for the settler: it may hold results whose leases have run out meanwhile. Written
// first they count; a read would take the messages over, and their handlers would run again.
func (c *Consumer) letSettle(ctx context.Context) {
	if !c.settler.overdue() {
		return
	}
	limit := time.NewTimer(settleFirst)
	defer limit.Stop()
	for c.settler.overdue() {
		select {
		case <-c.settler.caughtUp:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// receive takes charge of leases: orders go to the workers, what is no order or has been tried too often to the dead letters.
// The leases hold at least until then.
func (c *Consumer) receive(ctx context.Context, messages []queue.Received, read, until time.Time, p permit) {
	if len(messages) == 0 {
		c.gate.fetched(p, 0, nil)
		return
	}
	c.metrics.Received.Add(float64(len(messages)))
	c.logReceived(len(messages))
	deliveries := make([]*delivery, len(messages))
	now := time.Now()
	var hopeful []*delivery
	var ended []outcome // as they are: no handler is started
	for i, m := range messages {
		d := &delivery{msg: m.Message, read: now, until: until, renew: renewal(now, until), due: read.Add(-m.Late)}
		if end, ends := c.endings.rules.decide(&m.Message, arrived{m.Poison}); ends {
			c.logAbout(slog.LevelWarn, "message goes to the dead letters", &d.msg, slog.String("reason", end.reason), slog.String("error", end.problem))
			ended = append(ended, outcome{delivery: d, ending: end, at: now})
		} else {
			hopeful = append(hopeful, d)
		}
		d.span = c.spans.begin(&d.msg, read)
		ops.Observe(c.metrics.PickupSeconds, m.Late.Seconds(), d.traceID())
		deliveries[i] = d
	}
	c.spans.received(deliveries, read)
	c.gate.fetched(p, len(deliveries), deliveries[0])
	kept := c.keep(hopeful, &ended)
	for _, o := range ended {
		o.delivery.stage = leaving
	}
	c.held.add(deliveries)
	for _, o := range ended {
		c.gate.unused(o.delivery)
		c.settler.put(o)
	}
	for _, d := range kept {
		if ctx.Err() != nil {
			c.handBack(d)
			continue
		}
		select {
		case c.buffer <- d: // does not wait as a rule: want keeps what is held below its capacity
		case <-ctx.Done():
			c.handBack(d)
		}
	}
}

// keep returns the deliveries that are to be worked on here; the others are handed back when there are suspects among them.
func (c *Consumer) keep(read []*delivery, ended *[]outcome) []*delivery {
	before := c.load.caution
	kept, back := c.load.keep(read)
	for _, d := range back {
		*ended = append(*ended, c.endings.outcome(d, unstarted{ago: time.Since(d.due)}))
	}
	for _, d := range read {
		if d.msg.Unanswered > 0 {
			c.metrics.Unanswered.Inc()
		}
	}
	if now := c.load.caution; now > before {
		c.log.Warn("messages have been read again whose last delivery had no answer: their consumer died, or was cut off; they are worked on in smaller company",
			"times_in_a_row", int(now), "at_work_at_most", now.of(c.settings.Concurrency))
	}
	return kept
}

// doubt hands back what a read whose commit went unanswered may have leased.
func (c *Consumer) doubt(messages []queue.Received, until time.Time) {
	deliveries := make([]*delivery, len(messages))
	for i, m := range messages {
		deliveries[i] = &delivery{msg: m.Message, read: time.Now(), until: until, stage: leaving}
	}
	c.held.add(deliveries)
	for _, d := range deliveries {
		o := c.endings.outcome(d, unstarted{})
		o.unsure, o.unconfirmed = true, true
		c.settler.put(o)
	}
}
