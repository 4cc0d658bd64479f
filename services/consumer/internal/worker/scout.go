package worker

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/pg"
)

// scout knows when there is something to fetch, on a connection of its own: it listens for notifications, and sleeps until
// the earliest message is due, or for POLL_INTERVAL, whichever is first. Then it looks, with one index probe: that is
// all that an idle consumer asks the database, and it also shows that the connection still lives. Due times are
// computed by the database as durations; the host's clock only measures them out.
type scout struct {
	*Consumer
	link *pg.Link
	wake chan struct{} // to the fetcher: there is something, or may be

	mu      sync.Mutex
	soonest time.Time // a retry of our own is due then; zero: none is known of
	through bool      // the fetcher has taken what there was
	empty   bool      // and that was nothing
	changed chan struct{}
}

func newScout(c *Consumer, link *pg.Link) *scout {
	return &scout{Consumer: c, link: link, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// retryPayload is what a consumer notifies of a message that it has delayed for less than others may sleep.
const retryPayload = "retry-ms:"

// retryIn tells that a message will be due in d.
func (s *scout) retryIn(d time.Duration) {
	s.mu.Lock()
	if at := time.Now().Add(d); s.soonest.IsZero() || at.Before(s.soonest) {
		s.soonest = at
	}
	s.mu.Unlock()
	signal(s.changed)
}

// fetched tells that the fetcher has read all that was due; n is how much that was.
func (s *scout) fetched(n int) {
	s.mu.Lock()
	s.through, s.empty = true, n == 0
	s.mu.Unlock()
	signal(s.changed)
}

func (s *scout) rouse(cause string) {
	s.metrics.Wakeups.WithLabelValues(cause).Inc()
	signal(s.wake)
}

func (s *scout) run(ctx context.Context) {
	defer s.metrics.ListenerUp.Set(0)
	var retry backoff.Retry
	var spin backoff.Retry // against turning on messages that are due but that nobody gets, because their rows are locked
	for ctx.Err() == nil {
		s.takeThrough()
		var due time.Duration
		var found bool
		bound, full := s.floor.bound()
		s.steps.look.begin(0)
		err := s.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			start := time.Now()
			due, found, err = s.queue.Peek(ctx, conn, bound)
			if !found || due > 0 { // otherwise the fetcher has to look there as well
				s.floor.looked(bound, time.Since(start), 0, time.Time{})
			}
			return err
		})
		s.steps.look.end()
		now := time.Now()
		if err != nil {
			s.metrics.ListenerUp.Set(0)
			s.rouse("poll") // the fetcher may have better luck, and in found case may not sleep on
			pause(ctx, min(retry.Next(), s.settings.Poll))
			continue
		}
		retry.Reset()
		s.metrics.ListenerUp.Set(1)
		if !bound.IsZero() {
			s.retryIn(time.Until(full)) // what is due below the floor
		}
		switch {
		case found && due <= 0:
			s.rouse("due")
			through, empty := s.sleep(ctx, now.Add(s.settings.Poll), true)
			switch {
			case through && empty:
				s.sleep(ctx, time.Now().Add(min(spin.Next(), s.settings.Poll)), false)
			case through:
				spin.Reset()
			}
		case found:
			spin.Reset()
			s.sleep(ctx, now.Add(min(due, s.settings.Poll)), false)
		default:
			spin.Reset()
			s.sleep(ctx, now.Add(s.settings.Poll), false)
		}
	}
}

// sleep waits until the time has come to look again, passing notifications on meanwhile. With forFetcher it also ends when
// the fetcher is through with what was due, since then the next due time is another one.
func (s *scout) sleep(ctx context.Context, until time.Time, forFetcher bool) (through, empty bool) {
	for ctx.Err() == nil {
		until = s.sooner(until)
		if forFetcher {
			if through, empty = s.takeThrough(); through {
				return through, empty
			}
		}
		if !time.Now().Before(until) {
			return false, false
		}
		payload, arrived, err := s.listen(ctx, until)
		switch {
		case err != nil:
			return false, false // run looks again, which connects again
		case !arrived:
		case strings.HasPrefix(payload, retryPayload):
			if ms, err := strconv.Atoi(strings.TrimPrefix(payload, retryPayload)); err == nil && ms >= 0 {
				if at := time.Now().Add(time.Duration(ms) * time.Millisecond); at.Before(until) {
					until = at
				}
			}
		default:
			s.rouse("notification")
		}
	}
	return false, false
}

// listen waits for one notification, a change of plans, or until.
func (s *scout) listen(ctx context.Context, until time.Time) (payload string, arrived bool, err error) {
	waiting, stop := context.WithDeadline(ctx, until)
	var changes sync.WaitGroup
	changes.Go(func() {
		select {
		case <-s.changed:
			stop()
		case <-waiting.Done():
		}
	})
	payload, arrived, err = s.link.Wait(waiting)
	stop()
	changes.Wait()
	return payload, arrived, err
}

func (s *scout) sooner(until time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.soonest.IsZero() && s.soonest.Before(until) {
		until = s.soonest
	}
	if !s.soonest.IsZero() && !time.Now().Before(s.soonest) {
		s.soonest = time.Time{}
	}
	return until
}

func (s *scout) takeThrough() (through, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	through, empty = s.through, s.empty
	s.through = false
	return through, empty
}
