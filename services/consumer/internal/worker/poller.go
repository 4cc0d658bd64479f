package worker

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// poller knows when there is something to fetch, on a connection of its own: it listens for notifications, and sleeps until
// the earliest message is due, or for POLL_INTERVAL, whichever is first. Then it looks, in one round trip, which is all that an
// idle consumer asks the database: an index probe for what is due next, the gate's revision, whether the session can write, and
// this consumer's report when it is time for one. It also shows that the connection still lives. Due times are computed by the
// database as durations; the host's clock only measures them out.
type poller struct {
	link      *pg.Link
	queue     *queue.Queue
	watermark *watermark
	interval  time.Duration // POLL_INTERVAL
	lookPause time.Duration
	deaf      *atomic.Bool // notifications do not get here
	progress  *progress
	writing   *health
	log       *slog.Logger
	metrics   *metrics.Metrics
	gate      *gating
	presence  *presence
	wake      chan struct{} // to the fetcher: there is something, or may be

	mu      sync.Mutex
	soonest time.Time // a retry of our own is due then; zero: none is known of
	read    reading   // what the fetcher has found; the zero value: it has not been through since
	changed chan struct{}
}

// pollDeaf is POLL_INTERVAL at most where notifications do not get through: what a new message waits longer for than it would else.
const pollDeaf = 100 * time.Millisecond

// prepare prepares the poller's connection. Through a pooler in transaction mode a LISTEN would be heard by nobody, and left behind on a
// connection that is somebody else's next.
func (p *poller) prepare(ctx context.Context, conn *pgx.Conn) error {
	deaf := postgres.Transactional(conn)
	if was := p.deaf.Swap(deaf); was != deaf && deaf {
		p.log.Info("a connection pooler in transaction mode is in between: looking for messages instead of listening",
			"every", min(p.interval, pollDeaf).String())
	} else if was != deaf {
		p.log.Info("the connection pooler is not in transaction mode any more: listening")
	}
	if deaf {
		return nil
	}
	_, err := conn.Exec(ctx, "listen "+pgx.Identifier{p.queue.Channel()}.Sanitize())
	return err
}

// retryPayload is what a consumer notifies of a message that it has delayed for less than others may sleep.
const retryPayload = "retry-ms:"

// lookPause is the least time between two looks while notifications get here: the fetcher reads when one comes, so at 200 orders a second
// a look after each read would be a transaction for every other order. What it costs is that a message which is due at a moment that nobody
// tells, such as another program's with a delay, waits for so much longer while others come all the time.
const lookPause = 100 * time.Millisecond

// reading is what the fetcher's last read has shown of what is due.
type reading struct {
	through bool // it brought less than was wanted,
	empty   bool // and that was nothing,
	all     bool // or all that there was, and not what there was memory for
}

// retryIn tells that a message will be due in d.
func (p *poller) retryIn(d time.Duration) {
	p.mu.Lock()
	if at := time.Now().Add(d); p.soonest.IsZero() || at.Before(p.soonest) {
		p.soonest = at
	}
	p.mu.Unlock()
	signal(p.changed)
}

// fetched tells that the fetcher has read less than it wanted; n is how much that was, and cut says that there may be more, for which there
// was no memory.
func (p *poller) fetched(n int, cut bool) {
	p.mu.Lock()
	p.read = reading{through: true, empty: n == 0, all: !cut}
	p.mu.Unlock()
	signal(p.changed)
}

func (p *poller) wakeFetcher(cause string) {
	p.metrics.Wakeups.WithLabelValues(cause).Inc()
	signal(p.wake)
}

func (p *poller) run(ctx context.Context) {
	defer p.metrics.ListenerUp.Set(0)
	var retry backoff.Retry
	var spin backoff.Retry // against turning on messages that are due but that nobody gets, because their rows are locked
	for ctx.Err() == nil {
		p.takeReading()
		var seen queue.Peeked
		bound, full := p.watermark.bound()
		p.progress.begin(0)
		err := p.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			start := time.Now()
			seen, err = p.look(ctx, conn, bound)
			if !seen.Found || seen.Due > 0 { // otherwise the fetcher has to look there as well
				p.watermark.looked(bound, time.Since(start), 0, time.Time{})
			}
			return err
		})
		p.progress.end()
		now, interval := time.Now(), p.interval
		if err != nil {
			p.metrics.ListenerUp.Set(0)
			p.wakeFetcher("poll") // the fetcher may have better luck, and is not to sleep on what may be due
			pause(ctx, min(retry.Next(), p.interval))
			continue
		}
		retry.Reset()
		if p.deaf.Load() {
			interval = min(interval, pollDeaf)
			p.metrics.ListenerUp.Set(0)
		} else {
			p.metrics.ListenerUp.Set(1)
		}
		p.gate.refresh(seen.Gate)
		p.writing.readOnly(seen.ReadOnly)
		if !bound.IsZero() {
			p.retryIn(time.Until(full)) // what is due below the watermark
		}
		switch {
		case seen.Found && seen.Due <= 0:
			p.wakeFetcher("due")
			read := p.sleep(ctx, now.Add(interval), true)
			switch {
			case read.empty:
				p.sleep(ctx, time.Now().Add(min(spin.Next(), interval)), false)
			case read.through:
				spin.Reset()
				if read.all && !p.deaf.Load() {
					p.sleep(ctx, now.Add(min(p.lookPause, interval)), false)
				}
			}
		case seen.Found:
			spin.Reset()
			p.sleep(ctx, now.Add(min(seen.Due, interval)), false)
		default:
			spin.Reset()
			p.sleep(ctx, now.Add(interval), false)
		}
	}
}

// look peeks, and says in the same round trip how this consumer is doing, when it is time for that.
func (p *poller) look(ctx context.Context, conn *pgx.Conn, bound time.Time) (seen queue.Peeked, err error) {
	report := p.presence.due(time.Now())
	if report == nil {
		return p.queue.Peek(ctx, conn, bound)
	}
	seen, unreported, err := p.queue.PeekAndReport(ctx, conn, bound, report)
	if err == nil {
		p.presence.reported(unreported)
	}
	return seen, err
}

// sleep waits until the time has come to look again, passing notifications on meanwhile. With forFetcher it also ends when
// the fetcher is through with what was due, since then the next due time is another one.
func (p *poller) sleep(ctx context.Context, until time.Time, forFetcher bool) (read reading) {
	for ctx.Err() == nil {
		until = p.presence.sooner(p.sooner(until))
		if forFetcher {
			if read = p.takeReading(); read.through {
				return read
			}
		}
		if !time.Now().Before(until) {
			return reading{}
		}
		payload, arrived, err := p.listen(ctx, until)
		switch {
		case err != nil:
			return reading{} // run looks again, which connects again
		case !arrived:
		case payload == queue.GatePayload:
			p.gate.refresh(-1)
		case strings.HasPrefix(payload, retryPayload):
			if ms, err := strconv.Atoi(strings.TrimPrefix(payload, retryPayload)); err == nil && ms >= 0 {
				if at := time.Now().Add(time.Duration(ms) * time.Millisecond); at.Before(until) {
					until = at
				}
			}
		default:
			p.wakeFetcher("notification")
		}
	}
	return reading{}
}

// listen waits for one notification, a change of plans, or until.
func (p *poller) listen(ctx context.Context, until time.Time) (payload string, arrived bool, err error) {
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

func (p *poller) sooner(until time.Time) time.Time {
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

func (p *poller) takeReading() reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	read := p.read
	p.read = reading{}
	return read
}
