// Package presence owns what this consumer says of itself, for the dashboard: how it is doing, and what it has counted since its start.
// No decision about a delivery depends on it, and nothing may ever wait for it.
package presence

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/queue"
)

// Tally counts what the dashboard shows of this consumer. The metrics count the same, and cannot be read.
type Tally struct {
	completed, failed, retried, dead atomic.Int64
	latency                          [len(queue.Latency{})]atomic.Int64
}

// Completed counts an order that was completed.
func (t *Tally) Completed() { t.completed.Add(1) }

// Took counts the time from an order's publication to its completion.
func (t *Tally) Took(d time.Duration) { t.latency[queue.LatencyBucket(d)].Add(1) }

// Failed counts an attempt that failed.
func (t *Tally) Failed() { t.failed.Add(1) }

// Retried counts a message that comes again after a failure.
func (t *Tally) Retried() { t.retried.Add(1) }

// Dead counts a message that has become a dead letter.
func (t *Tally) Dead() { t.dead.Add(1) }

// How often a consumer reports: while it works, so that rates are of this moment; and when it has nothing new to say, so that it is known to
// be there. When nothing can be reported, because the database refuses it, it is tried again after a while.
const (
	reportWorking = time.Second
	reportIdle    = 2 * time.Second
	reportRefused = time.Minute
)

// GoneLimit is how much longer the end of a drain may take for the last report.
const GoneLimit = 500 * time.Millisecond

// Presence is this consumer's row of orderflow.processes. The poller sends it along with its look at the queue, at which it is anyway.
type Presence struct {
	Tally

	key, name string
	started   time.Time
	every     time.Duration // between two looks of an idle poller
	capacity  int
	held      *lease.Set
	draining  func() bool
	log       *slog.Logger

	mu   sync.Mutex
	last queue.Report // that was written
	at   time.Time    // when, or when that was tried
	wait time.Duration
}

// New is the presence of a consumer that begins now. id need not be its alone; poll is how long it sleeps at most.
func New(id string, concurrency int, poll time.Duration, held *lease.Set, draining func() bool, log *slog.Logger) *Presence {
	return &Presence{
		key: fmt.Sprintf("%s/%016x", id, rand.Uint64()), name: id, started: time.Now(), every: max(reportIdle, poll), capacity: concurrency,
		held: held, draining: draining, log: log,
	}
}

func (p *Presence) report() queue.Report {
	counts := p.held.Counts()
	r := queue.Report{
		Key: p.key, Name: p.name, Every: p.every, Capacity: p.capacity, State: "idle",
		Busy:      counts.InFlight,
		Completed: p.completed.Load(), Failed: p.failed.Load(), Retried: p.retried.Load(), Dead: p.dead.Load(),
	}
	for i := range p.latency {
		r.Latency[i] = p.latency[i].Load()
	}
	switch {
	case p.draining():
		r.State = "draining"
	case counts.Held > 0:
		r.State = "working"
	}
	return r
}

// Due is the report to be sent now; nil: none. The caller tells Reported how that went.
func (p *Presence) Due(now time.Time) *queue.Report {
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

// Sooner is until, or when to look whether a report is due, if that comes first. While something is held there may be something to say at any
// moment, and nobody tells when. It is never over before there is a report to be sent: who waits for it does not turn.
func (p *Presence) Sooner(now, until time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.at.Add(max(reportWorking, p.wait))
	switch {
	case p.report() != p.last:
	case p.held.Size() == 0:
		return until
	case !now.Before(next): // there was nothing to say yet
		next = now.Add(reportWorking)
	}
	if next.Before(until) {
		return next
	}
	return until
}

// Reported notes whether a report was written: unreported is why the database has not, empty when it has.
func (p *Presence) Reported(unreported string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = 0
	if unreported != "" {
		p.last, p.wait = queue.Report{}, reportRefused
		p.log.Debug("this consumer cannot be shown on the dashboard", "error", unreported)
	}
}
