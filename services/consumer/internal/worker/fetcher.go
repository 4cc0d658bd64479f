package worker

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// fetcher reads messages while there is room for them and something to read.
type fetcher struct {
	link         *pg.Link
	queue        *queue.Queue
	concurrency  int
	load         *load
	gate         *gating
	lease        *lease
	watermark    *watermark
	held         *held
	buffer       *buffer
	endings      endings
	settler      *settler
	poller       *poller
	progress     *progress
	health       *health
	spans        spans
	log          *slog.Logger
	metrics      *metrics.Metrics
	lastReceived time.Time // when a log line has last said so
}

// run reads until ctx ends. A read in flight at that moment is completed, and its messages are handed back.
func (f *fetcher) run(ctx context.Context) {
	// Reading has a context that outlives ctx for a moment: breaking off a read would only make its outcome unknown.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(fetchGrace, stop) })()

	var retry backoff.Retry
	for ctx.Err() == nil {
		f.buffer.release(f.load.surplus())
		want, ahead := f.load.want()
		f.metrics.Prefetch.Set(float64(ahead))
		p, err := f.askGate(reading, want.Messages)
		if err != nil {
			pause(ctx, retry.Next())
			continue
		}
		if p.shut {
			f.buffer.releaseAll()
		}
		if p.fetch == 0 {
			f.awaitPermit(ctx, p, want.Messages > 0)
			continue
		}
		want.Messages = p.fetch
		got, cut, took, err := f.read(ctx, reading, want, p)
		f.load.noteRead(want.Messages, got, took, err)
		switch {
		case err != nil:
			pause(ctx, retry.Next())
		case got < want.Messages:
			retry.Reset()
			f.poller.fetched(got, cut)
			f.awaitDue(ctx, p)
		default:
			retry.Reset()
		}
	}
}

// askGate asks the gate whether to fetch.
func (f *fetcher) askGate(reading context.Context, want int) (permit, error) {
	f.progress.begin(0)
	defer f.progress.end()
	return f.gate.ask(reading, f.link, want)
}

// awaitPermit waits until fetching may be possible: until the gate may permit it or, when nothing is wanted, until there may be room.
func (f *fetcher) awaitPermit(ctx context.Context, p permit, wanted bool) {
	room, due := f.load.room, f.poller.wake
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
		f.gate.hasDue()
	case <-f.gate.changed:
	case <-later:
	case <-ctx.Done():
	}
}

// awaitDue waits until something may be due.
func (f *fetcher) awaitDue(ctx context.Context, p permit) {
	later, stop := after(p.wait * 10) // a limit is lifted when it holds nothing back any more
	defer stop()
	select {
	case <-f.poller.wake:
		f.gate.hasDue()
	case <-f.gate.changed:
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

// read leases messages and hands them on. cut says that there may be more, for which there was no memory.
func (f *fetcher) read(ctx, reading context.Context, want queue.Bounds, p permit) (got int, cut bool, took time.Duration, err error) {
	f.progress.begin(0)
	defer f.progress.end()
	var fetched queue.Fetched
	start := time.Now()
	bound, until := f.watermark.bound()
	want.Watermark = bound
	length := f.lease.length()
	err = f.link.Do(reading, func(limited context.Context, conn *pgx.Conn) (err error) {
		f.letSettle(ctx)
		start = time.Now() // connecting may have taken its time, and the lease begins with the statement
		if unreadable := f.load.unreadable; unreadable != nil {
			fetched, err = f.queue.FetchUnreadable(limited, conn, want, length)
		} else {
			fetched, err = f.queue.Fetch(limited, conn, want, length)
		}
		return err
	})
	took = time.Since(start)
	f.metrics.StatementSeconds.WithLabelValues("fetch").Observe(took.Seconds())
	f.health.note(err)
	if err != nil {
		// Whether the leases are ours is not known, and so nobody may work on these messages. Handing them back
		// frees them when they are, and does nothing when they are not.
		f.doubt(fetched.Messages, start.Add(length))
		f.gate.fetched(p, p.fetch, nil)
		return 0, false, took, err
	}
	if len(fetched.Suppressed) > 0 {
		f.health.suppressedRead(fetched.Suppressed)
	}
	if len(fetched.Messages) > 0 {
		f.lease.note(took)
	}
	f.watermark.looked(bound, took, len(fetched.Messages), fetched.Last)
	if !bound.IsZero() {
		f.poller.retryIn(time.Until(until)) // what is due below the watermark
	}
	f.metrics.FetchBatch.Observe(float64(len(fetched.Messages)))
	f.receive(ctx, fetched.Messages, start, start.Add(length), p)
	return len(fetched.Messages), fetched.Cut(want), took, nil
}

// settleFirst is how long reading waits for the results of an outage to be written.
const settleFirst = time.Second

// letSettle waits, once the database is back, for the settler: it may hold results whose leases have run out meanwhile. Written
// first they count; a read would take the messages over, and their handlers would run again.
func (f *fetcher) letSettle(ctx context.Context) {
	if !f.settler.overdue() {
		return
	}
	limit := time.NewTimer(settleFirst)
	defer limit.Stop()
	for f.settler.overdue() {
		select {
		case <-f.settler.caughtUp:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// receive takes charge of leases: orders go to the workers, what is no order or has been tried too often to the dead letters.
// The leases hold at least until then.
func (f *fetcher) receive(ctx context.Context, messages []queue.Received, read, until time.Time, p permit) {
	if len(messages) == 0 {
		f.gate.fetched(p, 0, nil)
		return
	}
	f.metrics.Received.Add(float64(len(messages)))
	f.logReceived(len(messages))
	deliveries := make([]*delivery, len(messages))
	now := time.Now()
	var hopeful []*delivery
	var ended []outcome // as they are: no handler is started
	for i, m := range messages {
		d := &delivery{msg: m.Message, read: now, until: until, renew: renewal(now, until), due: read.Add(-m.Late)}
		if end, ends := f.endings.rules.decide(&m.Message, arrived{m.Poison}); ends {
			logAbout(f.log, slog.LevelWarn, "message goes to the dead letters", &d.msg, slog.String("reason", end.reason), slog.String("error", end.problem))
			ended = append(ended, outcome{delivery: d, ending: end, at: now})
		} else {
			hopeful = append(hopeful, d)
		}
		d.span = f.spans.begin(&d.msg, read)
		ops.Observe(f.metrics.PickupSeconds, m.Late.Seconds(), d.traceID())
		deliveries[i] = d
	}
	f.spans.received(deliveries, read)
	f.gate.fetched(p, len(deliveries), deliveries[0])
	kept := f.keep(hopeful, &ended)
	for _, o := range ended {
		o.delivery.stage = leaving
	}
	f.held.add(deliveries)
	for _, o := range ended {
		f.gate.unused(o.delivery)
		f.settler.put(o)
	}
	for _, d := range kept {
		if ctx.Err() != nil {
			f.buffer.handBack(d)
			continue
		}
		select {
		case f.buffer.waiting <- d: // does not wait as a rule: want keeps what is held below its capacity
		case <-ctx.Done():
			f.buffer.handBack(d)
		}
	}
}

// keep returns the deliveries that are to be worked on here; the others are handed back when there are suspects among them.
func (f *fetcher) keep(read []*delivery, ended *[]outcome) []*delivery {
	before := f.load.caution
	kept, back := f.load.keep(read)
	for _, d := range back {
		*ended = append(*ended, f.endings.outcome(d, unstarted{ago: time.Since(d.due)}))
	}
	for _, d := range read {
		if d.msg.Unanswered > 0 {
			f.metrics.Unanswered.Inc()
		}
	}
	if now := f.load.caution; now > before {
		f.log.Warn("messages whose last delivery went unanswered were read again; limiting concurrency",
			"times_in_a_row", int(now), "at_work_at_most", now.of(f.concurrency))
	}
	return kept
}

// doubt hands back what a read whose commit went unanswered may have leased.
func (f *fetcher) doubt(messages []queue.Received, until time.Time) {
	deliveries := make([]*delivery, len(messages))
	for i, m := range messages {
		deliveries[i] = &delivery{msg: m.Message, read: time.Now(), until: until, stage: leaving}
	}
	f.held.add(deliveries)
	for _, d := range deliveries {
		o := f.endings.outcome(d, unstarted{})
		o.unsure, o.unconfirmed = true, true
		f.settler.put(o)
	}
}

// receivedEvery is how often a read is worth a line: a trickle of single messages would otherwise be a line each.
const receivedEvery = 100 * time.Millisecond

func (f *fetcher) logReceived(n int) {
	level := slog.LevelInfo
	if time.Since(f.lastReceived) < receivedEvery {
		level = slog.LevelDebug
	}
	if f.log.Enabled(context.Background(), level) {
		f.lastReceived = time.Now()
		f.log.Log(context.Background(), level, "Received "+strconv.Itoa(n)+" messages")
	}
}
