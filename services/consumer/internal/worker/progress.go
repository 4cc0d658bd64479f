package worker

import (
	"sync"
	"time"
)

// hung is how long one step may take beyond the time that it is known to need, before the process counts as hung. Every
// statement has a deadline well below it.
const hung = time.Minute

// progress notes whether a loop is in the middle of a step, and by when that has to be over.
type progress struct {
	now func() time.Time // the monotonic clock: the host's may be set

	mu         sync.Mutex
	began, due time.Time // zero: between steps
}

// begin starts a step that may take so long. A loop that begins another one without having ended the last has moved on.
func (p *progress) begin(mayTake time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = p.now()
	p.due = p.began.Add(mayTake + hung)
}

// end says that the loop waits for something to do.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.due = time.Time{}, time.Time{}
}

// busy says whether a step has begun and not ended.
func (p *progress) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.began.IsZero()
}

// overdue is how long a step has been going on that should have been over by now; zero when all is well.
func (p *progress) overdue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.began.IsZero() || !now.After(p.due) {
		return 0
	}
	return now.Sub(p.began)
}
