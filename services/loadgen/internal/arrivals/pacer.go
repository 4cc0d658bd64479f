package arrivals

import (
	"context"
	"time"
)

// Arrival is one request that is due.
type Arrival struct {
	Seq int       // 0, 1, 2 …
	Due time.Time // when it is meant to be sent; latency counts from here
}

// Pacer waits for each arrival of a schedule and hands it over when it is due.
type Pacer struct {
	Schedule *Schedule
	// Wait blocks until a moment or until the context ends; nil = WaitUntil. It is here so that tests can own the clock.
	Wait func(ctx context.Context, until time.Time) bool
}

// Run calls emit for every arrival, never before it is due, until the schedule or the context ends or emit returns false. Arrivals
// that are overdue, because emit or the machine was slow, follow without a pause, each with its own due time: nothing is
// skipped here and nothing is shifted. It returns the number of arrivals handed over.
func (p Pacer) Run(ctx context.Context, start time.Time, emit func(Arrival) bool) int {
	wait := p.Wait
	if wait == nil {
		wait = WaitUntil
	}
	now := time.Now()
	for seq := 0; ; seq++ {
		offset, ok := p.Schedule.Next()
		if !ok || ctx.Err() != nil {
			return seq
		}
		due := start.Add(offset)
		if due.After(now) {
			if !wait(ctx, due) {
				return seq
			}
			now = time.Now()
		}
		if !emit(Arrival{Seq: seq, Due: due}) {
			return seq
		}
	}
}
