package fetch

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/wait"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/presence"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/signal"
)

// Poller knows when there is something to fetch, on a connection of its own: it listens for notifications, and sleeps until
// the earliest message is due, or for POLL_INTERVAL, whichever is first. Then it looks, in one round trip, which is all that an
// idle consumer asks the database: an index probe for what is due next, the gate's revision, whether the session can write, and
// this consumer's report when it is time for one. It also shows that the connection still lives. Due times are computed by the
// database as durations; the host's clock only measures them out.
type Poller struct {
	PollerNeeds
	link      *pg.Link
	watermark watermark
	spin      wait.Pauses   // against turning on messages that are due but that nobody gets, because their rows are locked
	wake      signal.Signal // to the fetcher: there is something, or may be
	changed   signal.Signal // to the poller: something of the following

	mu      sync.Mutex
	soonest time.Time  // a retry of our own is due then; zero: none is known of
	last    readResult // of the fetcher, when that was short; zero: there has been none since
}

// PollerNeeds are what it takes to know when there is something to fetch.
type PollerNeeds struct {
	Server    *pg.Server
	Queue     *queue.Queue
	Interval  time.Duration // POLL_INTERVAL
	Visible   time.Duration // visibility timeout
	LookPause time.Duration
	Deaf      *atomic.Bool // notifications do not get here, because of what is in between; the poller's to set
	Gate      *gating.Gate
	Presence  *presence.Presence
	Progress  *health.Progress
	Writing   *health.Statements // hears whether the session can write
	Log       *slog.Logger
	Metrics   *metrics.Metrics
}

// NewPoller has a link of its own, to be closed by the caller when the poller and all reports have ended.
func NewPoller(needs PollerNeeds) *Poller {
	p := &Poller{PollerNeeds: needs, wake: signal.New(), changed: signal.New()}
	p.link = needs.Server.NewListeningLink("listen", p.prepare)
	p.link.Watch(needs.Progress.Begin)
	return p
}

// Link is the poller's, for what goes on when it has ended.
func (p *Poller) Link() *pg.Link { return p.link }

// Every is how often a poller looks where notifications do not get through.
func Every(interval time.Duration) time.Duration { return min(interval, pollDeaf) }

// pollDeaf is how often that is at least: what a new message waits longer for than it would else.
const pollDeaf = 100 * time.Millisecond

// prepare prepares the poller's connection. Through a pooler in transaction mode a LISTEN would be heard by nobody, and left behind on a
// connection that is somebody else's next.
func (p *Poller) prepare(ctx context.Context, conn *pgx.Conn) error {
	deaf := postgres.Transactional(conn)
	if was := p.Deaf.Swap(deaf); was != deaf && deaf {
		p.Log.Info("a connection pooler in transaction mode is in between: looking for messages instead of listening",
			"every", Every(p.Interval).String())
	} else if was != deaf {
		p.Log.Info("the connection pooler is not in transaction mode any more: listening")
	}
	if deaf {
		return nil
	}
	_, err := conn.Exec(ctx, "listen "+pgx.Identifier{p.Queue.Channel()}.Sanitize())
	return err
}

// LookPause is the least time between two looks while notifications get here: the fetcher reads when one comes, so at 200 orders a second
// a look after each read would be a transaction for every other order. What it costs is that a message which is due at a moment that nobody
// tells, such as another program's with a delay, waits for so much longer while others come all the time.
const LookPause = 100 * time.Millisecond

// RetryIn tells that a message will be due in d.
func (p *Poller) RetryIn(d time.Duration) {
	p.mu.Lock()
	if at := time.Now().Add(d); p.soonest.IsZero() || at.Before(p.soonest) {
		p.soonest = at
	}
	p.mu.Unlock()
	p.changed.Send()
}

// fetched tells that a read of the fetcher's was short.
func (p *Poller) fetched(r readResult) {
	p.mu.Lock()
	p.last = r
	p.mu.Unlock()
	p.changed.Send()
}

func (p *Poller) wakeFetcher(cause string) {
	p.Metrics.Wakeups.WithLabelValues(cause).Inc()
	p.wake.Send()
}

// Run looks, and wakes the fetcher, until ctx ends.
func (p *Poller) Run(ctx context.Context) {
	defer p.Metrics.ListenerUp.Set(0)
	var retry wait.Pauses
	for ctx.Err() == nil {
		p.takeLast()
		seen, err := p.look(ctx)
		if err != nil {
			p.Metrics.ListenerUp.Set(0)
			p.wakeFetcher("poll") // the fetcher may have better luck, and is not to sleep on what may be due
			wait.For(ctx, min(retry.Next(), p.Interval))
			continue
		}
		retry.Reset()
		looked, interval := time.Now(), p.Interval
		if p.Deaf.Load() {
			interval = Every(interval)
			p.Metrics.ListenerUp.Set(0)
		} else {
			p.Metrics.ListenerUp.Set(1)
		}
		switch {
		case seen.Found && seen.Due <= 0:
			p.wakeFetcher("due")
			p.awaitRead(ctx, looked, interval)
		case seen.Found:
			p.spin.Reset()
			p.sleep(ctx, looked.Add(min(seen.Due, interval)))
		default:
			p.spin.Reset()
			p.sleep(ctx, looked.Add(interval))
		}
	}
}

// look looks once, and tells the gate and the others what it has seen.
func (p *Poller) look(ctx context.Context) (seen queue.Peeked, err error) {
	bound, full := p.watermark.bound()
	p.Progress.Begin(0)
	err = p.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		start := time.Now()
		seen, err = p.peek(ctx, conn, bound)
		if !seen.Found || seen.Due > 0 { // otherwise the fetcher has to look there as well
			p.watermark.looked(bound, time.Since(start), 0, time.Time{})
		}
		return err
	})
	p.Progress.End()
	if err != nil {
		return queue.Peeked{}, err
	}
	p.Gate.Refresh(seen.Gate)
	p.noteReadOnly(seen.ReadOnly)
	if !bound.IsZero() {
		p.RetryIn(time.Until(full)) // what is due below the watermark
	}
	return seen, nil
}

// awaitRead waits, after something was due and the fetcher has been woken, until the next look is worth it: there may be another due time when a read
// was short.
func (p *Poller) awaitRead(ctx context.Context, looked time.Time, interval time.Duration) {
	read := p.sleepUntilRead(ctx, looked.Add(interval))
	switch {
	case !read.short():
	case read.got == 0:
		p.sleep(ctx, time.Now().Add(min(p.spin.Next(), interval)))
	default:
		p.spin.Reset()
		if !read.cut && !p.Deaf.Load() {
			p.sleep(ctx, looked.Add(min(p.LookPause, interval)))
		}
	}
}

// noteReadOnly notes whether the session can write.
func (p *Poller) noteReadOnly(no bool) {
	if no {
		p.Writing.Turn(pgerrcode.ReadOnlySQLTransaction, "the database is read-only: a standby, or set to be (default_transaction_read_only)")
	} else {
		p.Writing.Turn("", "")
	}
}

// peek says in the same round trip how this consumer is doing, when it is time for that.
func (p *Poller) peek(ctx context.Context, conn *pgx.Conn, bound time.Time) (seen queue.Peeked, err error) {
	report := p.Presence.Due(time.Now())
	if report == nil {
		return p.Queue.Peek(ctx, conn, bound)
	}
	seen, unreported, err := p.Queue.PeekAndReport(ctx, conn, bound, report)
	if err == nil {
		p.Presence.Reported(unreported)
	}
	return seen, err
}

// sleep waits until the time has come to look again, passing notifications on meanwhile.
func (p *Poller) sleep(ctx context.Context, until time.Time) {
	p.sleepUnless(ctx, until, func() bool { return false })
}

// sleepUntilRead is sleep that also ends when a read of the fetcher's was short, which it returns: what was due has been read, and the next due time
// is another one.
func (p *Poller) sleepUntilRead(ctx context.Context, until time.Time) (read readResult) {
	p.sleepUnless(ctx, until, func() bool {
		read = p.takeLast()
		return read.short()
	})
	return read
}

// sleepUnless is sleep that ends when enough says so, which is asked whenever something has changed.
func (p *Poller) sleepUnless(ctx context.Context, until time.Time, enough func() bool) {
	for ctx.Err() == nil {
		until = p.Presence.Sooner(time.Now(), p.sooner(until))
		if enough() || !time.Now().Before(until) {
			return
		}
		payload, arrived, err := p.listen(ctx, until)
		retry, isRetry := queue.Retry(payload)
		switch {
		case err != nil:
			return // Run looks again, which connects again
		case !arrived:
		case payload == queue.GatePayload:
			p.Gate.Refresh(-1)
		case isRetry:
			if at := time.Now().Add(retry); at.Before(until) {
				until = at
			}
		default:
			p.wakeFetcher("notification")
			// Whoever gets the message, and dies, leaves it to the others after that time.
			if at := time.Now().Add(p.Visible); at.Before(until) {
				until = at
			}
		}
	}
}

// listen waits for one notification, a change of plans, or until.
func (p *Poller) listen(ctx context.Context, until time.Time) (payload string, arrived bool, err error) {
	waiting, stop := context.WithDeadline(ctx, until)
	var changes sync.WaitGroup
	changes.Go(func() {
		select {
		case <-p.changed:
			stop()
		case <-waiting.Done():
		}
	})
	payload, arrived, err = p.link.Wait(waiting)
	stop()
	changes.Wait()
	return payload, arrived, err
}

func (p *Poller) sooner(until time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.soonest.IsZero() && p.soonest.Before(until) {
		until = p.soonest
	}
	if !p.soonest.IsZero() && !time.Now().Before(p.soonest) {
		p.soonest = time.Time{}
	}
	return until
}

func (p *Poller) takeLast() readResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last
	p.last = readResult{}
	return last
}
