package measure

import (
	"time"

	"orderflow.example/services/loadgen/internal/client"
)

// Snapshot is the state of a run while it goes on.
type Snapshot struct {
	Elapsed  time.Duration
	Totals   Totals
	InFlight int64
	P50      time.Duration // of POST, over the last seconds
	P99      time.Duration
	Max      time.Duration
	Queue    *client.Queue // as last asked; nil = not yet
	LastSent time.Time
	LastDue  time.Time
	Stalls   []Stall
}

// Snapshot is the state now.
func (r *Recorder) Snapshot(now time.Time) Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.recent.at(now)
	return Snapshot{
		Elapsed: now.Sub(r.start), Totals: r.total.clone(), InFlight: r.inFlight, P50: h.Percentile(50), P99: h.Percentile(99), Max: h.Max(),
		Queue: r.queue, LastSent: r.lastSent, LastDue: r.lastDue, Stalls: append([]Stall(nil), r.stalls.found...),
	}
}

// Post is a copy of the histogram of POST latency: from the moment that an order was due (open model) or first sent (closed model) to its
// answer, retries included.
func (r *Recorder) Post() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.post.Clone()
}

// Service is a copy of the histogram of single tries that were accepted, from sending to answer: what a closed-loop tool reports.
func (r *Recorder) Service() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.service.Clone()
}

// recent holds the latencies of the last five to ten seconds.
type recent struct {
	now, before *Histogram
	since       time.Time
}

const recentSpan = 5 * time.Second

func newRecent(start time.Time) recent {
	return recent{now: newCoarse(), before: newCoarse(), since: start}
}

func (r *recent) record(at time.Time, d time.Duration) {
	r.turn(at)
	r.now.Record(d)
}

func (r *recent) at(now time.Time) *Histogram {
	r.turn(now)
	h := r.before.Clone()
	h.Merge(r.now)
	return h
}

func (r *recent) turn(now time.Time) {
	switch age := now.Sub(r.since); {
	case age < recentSpan:
		return
	case age < 2*recentSpan:
		r.now, r.before = r.before, r.now
	default:
		r.before.Reset()
	}
	r.now.Reset()
	r.since = now
}
