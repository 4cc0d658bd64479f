package audit

import (
	"context"
	"time"

	"orderflow.example/services/loadgen/internal/ledger"
)

// probes is how many orders stand for all of them while a large run is being processed.
const probes = 16

// await returns when a large run seems to be done: the queue is empty, or some orders spread over the run are settled, or nothing has moved for the
// patience. It asks for little: listing a million orders to find that half are pending would load what is being measured.
func (a *Auditor) await(ctx context.Context, moved *time.Time) error {
	sample := a.sample()
	poll := a.opt.Poll
	for {
		if a.askQueue(ctx) {
			*moved = time.Now()
		}
		if a.depth == 0 {
			return nil
		}
		open := sample[:0]
		for _, p := range sample {
			o, found, err := a.order(ctx, p.b.id(p.n))
			if err != nil {
				return err
			}
			if found && p.b.names(p.n, &o) && !settled(o.Status) {
				open = append(open, p)
			}
		}
		if len(open) < len(sample) {
			*moved = time.Now()
		}
		sample = open
		if len(sample) == 0 || time.Since(*moved) >= a.opt.Patience {
			return nil
		}
		a.estimate()
		if !wait(ctx, poll) {
			return ctx.Err()
		}
		poll = min(2*poll, 2*time.Second)
	}
}

type probe struct {
	b *book
	n int
}

// sample picks orders whose fate is open, evenly, the last one included.
func (a *Auditor) sample() []probe {
	var open []probe
	for _, b := range a.books {
		for n := range b.marks {
			if b.open(n) && b.id(n) != 0 && b.ledger.State(n) == ledger.Accepted {
				open = append(open, probe{b, n})
			}
		}
	}
	if len(open) <= probes {
		return open
	}
	picked := make([]probe, 0, probes)
	for i := 1; i <= probes; i++ {
		picked = append(picked, open[i*len(open)/probes-1])
	}
	return picked
}

// estimate reports progress from the queue's depth, as the orders themselves are not being looked at.
func (a *Auditor) estimate() {
	if a.opt.Progress == nil {
		return
	}
	t := a.tally()
	p := Progress{Accepted: t.Accepted, Completed: t.Completed, Dead: t.Dead, Pending: t.unsettled, Missing: t.missing}
	if a.depth >= 0 {
		p.Pending = min(p.Pending, a.depth)
		p.Completed = max(0, p.Accepted-p.Dead-p.Missing-p.Pending)
		p.Estimated = true
	}
	a.opt.Progress(p)
}
