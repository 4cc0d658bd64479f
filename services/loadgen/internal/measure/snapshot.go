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
	P50      time.Duration // of POST, so far
	P99      time.Duration
	Queue    *client.Queue // as last asked; nil = not yet
	LastSent time.Time
	LastDue  time.Time
	Stalls   []Stall
}

// Snapshot is the state now.
func (r *Recorder) Snapshot(now time.Time) Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Snapshot{
		Elapsed: now.Sub(r.start), Totals: r.total.clone(), InFlight: r.inFlight, P50: r.post.Percentile(50), P99: r.post.Percentile(99),
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
