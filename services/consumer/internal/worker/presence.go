package worker

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// tally counts what the dashboard shows of this consumer. The metrics count the same, and cannot be read.
type tally struct {
	completed, failed, retried, dead atomic.Int64
	latency                          [len(queue.Latency{})]atomic.Int64
}

// took counts the time from an order's publication to its completion.
func (t *tally) took(d time.Duration) { t.latency[queue.LatencyBucket(d)].Add(1) }

// How often a consumer reports: while it works, so that rates are of this moment; and when it has nothing new to say, so that it is known to
// be there. When nothing can be reported, because the database refuses it, it is tried again after a while.
const (
	reportWorking = time.Second
	reportIdle    = 2 * time.Second
	reportRefused = time.Minute
)

// goneLimit is how much longer the end of a drain may take for the last report.
const goneLimit = 500 * time.Millisecond

// presence is what this consumer says of itself: a row of orderflow.processes. The poller sends it along with its look at the queue, at
// which it is anyway. Nothing depends on it, and nothing waits for it.
type presence struct {
	key, name string
	started   time.Time
	every     time.Duration // between two looks of an idle poller
	capacity  int
	tally     *tally
	held      *held
	draining  func() bool
	log       *slog.Logger

	mu   sync.Mutex
	last queue.Report // that was written
	at   time.Time    // when, or when that was tried
	wait time.Duration
}

func newPresence(s Settings, t *tally, h *held, draining func() bool, log *slog.Logger) *presence {
	return &presence{
		key: fmt.Sprintf("%s/%016x", s.ID, rand.Uint64()), name: s.ID, started: time.Now(), every: max(reportIdle, s.Poll), capacity: s.Concurrency,
		tally: t, held: h, draining: draining, log: log,
	}
}

func (p *presence) report() queue.Report {
	r := queue.Report{
		Key: p.key, Name: p.name, Every: p.every, Capacity: p.capacity, State: "idle",
		Busy:      p.held.inFlight(),
		Completed: p.tally.completed.Load(), Failed: p.tally.failed.Load(), Retried: p.tally.retried.Load(), Dead: p.tally.dead.Load(),
	}
	for i := range p.tally.latency {
		r.Latency[i] = p.tally.latency[i].Load()
	}
	switch {
	case p.draining():
		r.State = "draining"
	case p.held.size.Load() > 0:
		r.State = "working"
	}
	return r
}

// due is the report to be sent now; nil: none. The caller tells reported how that went.
func (p *presence) due(now time.Time) *queue.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := now.Sub(p.at)
	if since < max(reportWorking, p.wait) {
		return nil
	}
	r := p.report()
	if r == p.last && since < reportIdle {
		return nil
	}
	said := r
	said.Age = now.Sub(p.started)
	p.at, p.last = now, r
	return &said
}

// sooner is until, or the time of the next report when there is something new to say and that comes first.
func (p *presence) sooner(until time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.at.Add(max(reportWorking, p.wait))
	if next.Before(until) && (p.held.size.Load() > 0 || p.report() != p.last) {
		return next
	}
	return until
}

// reported notes whether a report was written: unreported is why the database has not, empty when it has.
func (p *presence) reported(unreported string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = 0
	if unreported != "" {
		p.last, p.wait = queue.Report{}, reportRefused
		p.log.Debug("this consumer cannot be shown on the dashboard", "error", unreported)
	}
}
