// Package fetch owns how messages get here: when to look for them, how many to read, the read that leases them, and the buffer in which they
// wait for a worker. What no worker is to have, it hands back.
//
// It must never let a worker see a message before its read has committed, never hold more than will be worked on soon, and never read while
// the gate is shut, but for a probe.
package fetch

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/ops"
	"orderflow.example/kit/wait"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/signal"
	"orderflow.example/services/consumer/internal/spans"
)

// Fetcher reads messages while there is room for them and something to read.
type Fetcher struct {
	Link     *pg.Link
	Queue    *queue.Queue
	Demand   *Demand
	Room     signal.Signal // tells that there may be room for more
	Poller   *Poller       // tells that there may be something
	Gate     *gating.Gate
	Term     *lease.Term
	Held     *lease.Set
	Rules    ending.Rules
	Buffer   *Buffer
	Settler  Settler
	Progress *health.Progress
	Reads    *health.Statements
	Spans    spans.Spans
	Log      *slog.Logger
	Metrics  *metrics.Metrics

	front        front
	lastReceived time.Time // when a log line has last said so
}

// Grace is what a read that is under way gets when the fetcher is to end.
const Grace = time.Second

// Run reads until ctx ends. A read in flight at that moment is completed, and its messages are handed back.
func (f *Fetcher) Run(ctx context.Context) {
	// Reading has a context that outlives ctx for a moment: breaking off a read would only make its outcome unknown.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(Grace, stop) })()

	var retry wait.Pauses
	f.front.now = time.Now
	for ctx.Err() == nil {
		f.Demand.learn()
		f.Buffer.releaseOldest(f.Demand.surplus(f.Held.Counts()))
		want, ahead := f.Demand.want(f.Held.Counts())
		f.Metrics.Prefetch.Set(float64(ahead))
		f.Progress.Begin(0)
		p, err := f.Gate.Ask(reading, f.Link, f.Queue, want.Messages)
		f.Progress.End()
		if err != nil {
			wait.For(ctx, retry.Next())
			continue
		}
		if p.Shut {
			f.Buffer.ReleaseAll()
		}
		if p.Fetch == 0 {
			f.awaitPermit(ctx, p, want.Messages > 0)
			continue
		}
		want.Messages = p.Fetch
		r, err := f.read(ctx, reading, want, p)
		if nearer := f.Demand.noteRead(r, err); nearer {
			f.Log.Debug("a read failed, looking for the row that is at fault", "messages", r.wanted, "error", err.Error())
			continue
		}
		if err != nil {
			f.Reads.Note(err)
			wait.For(ctx, retry.Next())
			continue
		}
		retry.Reset()
		if r.short() {
			f.Poller.fetched(r)
			if !r.more {
				f.awaitDue(ctx, p)
			}
		}
	}
}

// awaitPermit waits until fetching may be possible: until the gate may permit it or, when nothing is wanted, until there may be room.
func (f *Fetcher) awaitPermit(ctx context.Context, p gating.Permit, wanted bool) {
	room, due := f.Room, f.Poller.wake
	if wanted {
		room = nil
	}
	if !p.Shut {
		due = nil
	}
	later, stop := after(p.Wait)
	defer stop()
	select {
	case <-room:
	case <-due:
		f.Gate.HasDue()
	case <-f.Gate.Changed():
	case <-later:
	case <-ctx.Done():
	}
}

// limitedLook is how much less often than for a permit the gate is asked when nothing is due: only so is a limit lifted that holds nothing back
// any more.
const limitedLook = 10

// awaitDue waits until something may be due, the gate is to be asked all the same, or what is passed over is to be tried again: it may be gone, and
// nobody tells.
func (f *Fetcher) awaitDue(ctx context.Context, p gating.Permit) {
	look := p.Wait * limitedLook
	if again, some := f.Demand.passed.soonest(); some && (look <= 0 || again < look) {
		look = max(again, time.Nanosecond)
	}
	later, stop := after(look)
	defer stop()
	select {
	case <-f.Poller.wake:
		f.Gate.HasDue()
	case <-f.Gate.Changed():
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

// readResult is how a read went.
type readResult struct {
	wanted, got int           // messages; of one whose commit has failed what would have come
	cut         bool          // there may be more, for which there was no memory
	more        bool          // there may be more, behind what could not be leased or before the front
	sound       int64         // msg_id of one that was looked at because a read had failed, and can be read; 0: there is none
	took, might time.Duration // how long it took, and might have taken
}

// short says that it brought less than was wanted.
func (r readResult) short() bool { return r.got < r.wanted }

// read leases messages and hands them on.
func (f *Fetcher) read(ctx, reading context.Context, want queue.Bounds, p gating.Permit) (r readResult, err error) {
	f.Progress.Begin(0)
	defer f.Progress.End()
	var fetched queue.Fetched
	start := time.Now()
	until := f.begin(&want)
	length := f.Term.Length()
	if err = f.catchUp(ctx, reading); err == nil {
		err = f.Link.Do(reading, func(limited context.Context, conn *pgx.Conn) (err error) {
			r.might = pg.MayTake(limited)
			start = time.Now() // connecting may have taken its time, and the lease begins with the statement
			if unreadable := f.Demand.unreadable; unreadable != nil {
				fetched, err = f.Queue.FetchUnreadable(limited, conn, want, length)
			} else {
				fetched, err = f.Queue.Fetch(limited, conn, want, length)
			}
			return err
		})
	}
	r.wanted, r.got, r.took = want.Messages, len(fetched.Messages), time.Since(start)
	f.Metrics.StatementSeconds.WithLabelValues("fetch").Observe(r.took.Seconds())
	if err != nil {
		f.front.noteRead(want, false)
		// Whether the leases are ours is not known, and so nobody may work on these messages. Handing them back
		// frees them when they are, and does nothing when they are not.
		f.doubt(fetched.Messages, start, length)
		f.Gate.ReadFailed(p)
		return r, err
	}
	r.more, r.sound = f.Demand.noteSuppressed(fetched.Suppressed), fetched.Sound
	r.more = r.more || want.Front && r.short()
	if why := f.Demand.passed.describe(); why != "" {
		f.Reads.Turn("suppressed", why)
	} else {
		f.Reads.Note(nil)
	}
	if len(fetched.Messages) > 0 {
		f.Term.Note(r.took)
	}
	f.began(want, r, fetched.Last)
	if !want.Watermark.IsZero() {
		f.Poller.RetryIn(time.Until(until)) // what is due below the watermark
	}
	f.Metrics.FetchBatch.Observe(float64(len(fetched.Messages)))
	if r.more {
		p.Fetch = len(fetched.Messages) // that there were no more of them does not say that no more are due
	}
	if r.more && p.Fetch == 0 {
		f.Gate.ReadFailed(p)
	} else {
		f.receive(ctx, fetched.Messages, start, length, p)
	}
	r.cut = fetched.Cut(want)
	return r, nil
}

// begin says where a read begins: at the watermark, at the queue's front or, mostly, at the beginning. For the first of these until is when the
// beginning has to be looked at again.
func (f *Fetcher) begin(want *queue.Bounds) (until time.Time) {
	want.Watermark, until = f.Poller.watermark.bound()
	want.Front = want.Watermark.IsZero() && f.front.begins(want.Messages)
	return until
}

// began notes how a read went that began so. last is the due time of the last message that it brought.
func (f *Fetcher) began(want queue.Bounds, r readResult, last time.Time) {
	f.front.noteRead(want, !r.short())
	if !want.Front { // what one at the front costs says nothing of the beginning
		f.Poller.watermark.looked(want.Watermark, r.took, r.got, last)
	}
}

// catchUp has the results of an outage written first, when the database is back.
func (f *Fetcher) catchUp(ctx, reading context.Context) error {
	if !f.Settler.Overdue() {
		return nil
	}
	if err := f.Link.Do(reading, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "select")
		return err
	}); err != nil {
		return err
	}
	f.Settler.CatchUp(ctx)
	return nil
}

// receive takes charge of messages that were leased for length by a statement sent then: orders go to the workers, what is no order or has
// been tried too often to the dead letters.
func (f *Fetcher) receive(ctx context.Context, messages []queue.Received, sent time.Time, length time.Duration, p gating.Permit) {
	if len(messages) == 0 {
		f.Gate.Fetched(p, 0, nil)
		return
	}
	f.Metrics.Received.Add(float64(len(messages)))
	f.logReceived(len(messages))
	answered := time.Now()
	all := make([]*lease.Delivery, len(messages))
	var hopeful, dead []*lease.Delivery
	var ends []ending.Ending // of the dead
	for i := range messages {
		m := &messages[i]
		d := lease.New(&m.Message, sent, answered, length)
		if end := f.Rules.Decide(&m.Message, ending.Arrived{Poison: m.Poison}); end.Ends() {
			message.Log(f.Log, slog.LevelWarn, "message goes to the dead letters", &d.Message, slog.String("reason", end.Reason), slog.String("error", end.Problem))
			dead, ends = append(dead, d), append(ends, end)
		} else {
			hopeful = append(hopeful, d)
		}
		d.Span = f.Spans.Begin(&d.Message, sent)
		ops.Observe(f.Metrics.PickupSeconds, m.Leased.Sub(m.Due).Seconds(), d.TraceID())
		all[i] = d
	}
	f.Spans.Received(all, sent)
	f.Gate.Fetched(p, len(all), &all[0].Ticket)
	f.noteSuspects(hopeful)
	kept, back := f.Demand.keep(hopeful, f.Held.Counts())
	f.Held.Add(kept)
	f.Held.AddLeaving(dead)
	f.Held.AddLeaving(back)
	for i, d := range dead {
		f.Gate.Unused(&d.Ticket)
		f.Settler.Put(d, ends[i])
	}
	for _, d := range back {
		f.Gate.Unused(&d.Ticket)
		f.Settler.Settle(d, ending.Unstarted{InPlace: true})
	}
	for _, d := range kept {
		f.Buffer.put(ctx, d)
	}
}

// noteSuspects counts the suspects of a read, and says when there have to be fewer messages at work because of them.
func (f *Fetcher) noteSuspects(read []*lease.Delivery) {
	for _, d := range read {
		if d.Message.Unanswered > 0 {
			f.Metrics.Unanswered.Inc()
		}
	}
	if f.Demand.beware(read) {
		now := f.Demand.caution
		f.Log.Warn("messages whose last delivery went unanswered were read again; limiting concurrency",
			"times_in_a_row", int(now), "at_work_at_most", now.Of(f.Demand.limits.Concurrency))
	}
}

// doubt hands back what a read whose commit went unanswered may have leased.
func (f *Fetcher) doubt(messages []queue.Received, sent time.Time, length time.Duration) {
	deliveries := make([]*lease.Delivery, len(messages))
	for i := range messages {
		deliveries[i] = lease.New(&messages[i].Message, sent, time.Now(), length)
	}
	f.Held.AddLeaving(deliveries)
	for _, d := range deliveries {
		f.Settler.Doubt(d)
	}
}

// receivedEvery is how often a read is worth a line: a trickle of single messages would otherwise be a line each.
const receivedEvery = 100 * time.Millisecond

func (f *Fetcher) logReceived(n int) {
	level := slog.LevelInfo
	if time.Since(f.lastReceived) < receivedEvery {
		level = slog.LevelDebug
	}
	if f.Log.Enabled(context.Background(), level) {
		f.lastReceived = time.Now()
		f.Log.Log(context.Background(), level, "Received "+strconv.Itoa(n)+" messages")
	}
}
