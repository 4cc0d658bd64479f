package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Times that a drain may take beyond Settings.Drain.
const (
	fetchGrace   = time.Second            // for a read in flight
	handlerGrace = time.Second            // for cancelled handlers to return
	settleGrace  = 2 * time.Second        // to write what is left
	notifyLimit  = 500 * time.Millisecond // to tell others of what was handed back
)

// drain brings every delivery to its decision.
func (c *Consumer) drain(readers, workers *sync.WaitGroup, stopHandling context.CancelCauseFunc) {
	c.company.close()
	c.log.Info("draining: no more messages are fetched",
		"in_flight", c.held.inFlight(), "buffered", c.held.buffered.Load(), "timeout", c.settings.Drain.String())
	c.buffer.releaseAll()
	fetched := finished(readers)
	worked := make(chan struct{})
	go func() { // ends with the workers; those that never end are what the drain leaves behind
		<-fetched
		c.buffer.releaseAll()
		close(c.buffer.waiting) // the workers' end; the fetcher was the only one to send
		workers.Wait()
		c.held.awaitAckWork()
		close(worked)
	}()
	if within(worked, c.settings.Drain) {
		return
	}
	c.log.Warn("DRAIN_TIMEOUT is over: running handlers are cancelled", "in_flight", c.held.inFlight())
	stopHandling(handler.ErrDraining)
	if within(worked, handlerGrace) {
		return
	}
	within(fetched, fetchGrace) // with no time to drain a read may still be under way
	c.buffer.releaseAll()
	for _, d := range c.held.abandon(time.Time{}, 0) {
		logAbout(c.log, slog.LevelWarn, "handler ignores its cancellation and is left behind; its message is handed back", &d.msg)
		c.settler.put(c.endings.outcome(d, unstarted{}))
	}
}

// reportDrain goes on with the reports when the poller has ended, on its link. What it returns ends that, with a last report: the row
// says that this consumer is gone, and the api removes it when it has counted what is in it.
func (c *Consumer) reportDrain(ctx context.Context, link *pg.Link, readers *sync.WaitGroup) (sayGone func()) {
	send := func(ctx context.Context, r *queue.Report) {
		c.steps.poll.begin(0)
		defer c.steps.poll.end()
		_ = link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error { // an outage is told of elsewhere
			unreported, err := c.queue.Report(ctx, conn, r)
			if err == nil {
				c.presence.reported(unreported)
			}
			return err
		})
	}
	draining, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() {
		if !withinContext(draining, finished(readers)) {
			return
		}
		everyTick(draining, time.Minute, func(now time.Time) {
			if r := c.presence.due(now); r != nil {
				send(draining, r)
			}
		})
	})
	return func() {
		stop()
		ended.Wait()
		ctx, cancel := context.WithTimeout(ctx, goneLimit)
		defer cancel()
		r := c.presence.report()
		r.State, r.Age = "gone", time.Since(c.presence.started)
		send(ctx, &r)
	}
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

// withinContext waits for done; false: ctx ended first.
func withinContext(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
