package worker

import (
	"sync"
	"time"
)

// pulse notes whether a loop is in the middle of a step, and since when. It keeps the monotonic clock: the host's may be set.
type pulse struct {
	mu    sync.Mutex
	since time.Time // zero: it is not
}

func (p *pulse) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Time{}
}

// busy is how long the step has taken so far; zero between steps.
func (p *pulse) busy() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return time.Since(p.since)
}
