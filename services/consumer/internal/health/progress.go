// Package health owns what the probes are answered from: whether each loop of the consumer moves (Progress, for liveness), and whether the
// database does what it is asked for (Statements, for readiness). It must never ask the database itself.
package health

import (
	"sync"
	"time"
)

// hung is how long one step may take beyond the time that it is known to need, before the process counts as hung. Every
// statement has a deadline well below it.
const hung = time.Minute

// Progress notes whether a loop is in the middle of a step, and by when that has to be over.
type Progress struct {
	now func() time.Time

	mu         sync.Mutex
	began, due time.Time // zero: between steps
}

// NewProgress is of a loop that is between steps. now is a monotonic clock: the host's may be set.
func NewProgress(now func() time.Time) *Progress { return &Progress{now: now} }

// Begin starts a step that may take so long. A loop that begins another one without having ended the last has moved on.
func (p *Progress) Begin(mayTake time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = p.now()
	p.due = p.began.Add(mayTake + hung)
}

// End says that the loop waits for something to do.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.due = time.Time{}, time.Time{}
}

// Busy says whether a step has begun and not ended.
func (p *Progress) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.began.IsZero()
}

// Overdue is how long a step has been going on that should have been over by now; zero when all is well.
func (p *Progress) Overdue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.began.IsZero() || !now.After(p.due) {
		return 0
	}
	return now.Sub(p.began)
}
