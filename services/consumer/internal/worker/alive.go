package worker

import (
	"time"

	"orderflow.example/services/consumer/internal/health"
)

// steps are what each loop is at.
type steps struct {
	fetch, settle, heartbeat, poll *health.Progress
	stuck                          *health.Progress   // no worker is free of a handler that ignores its deadline
	ackWork                        []*health.Progress // of each lane for ack work
}

func newSteps(lanes int, now func() time.Time) steps {
	s := steps{
		fetch: health.NewProgress(now), settle: health.NewProgress(now), heartbeat: health.NewProgress(now), poll: health.NewProgress(now),
		stuck: health.NewProgress(now),
	}
	for range lanes {
		s.ackWork = append(s.ackWork, health.NewProgress(now))
	}
	return s
}

// Alive says whether the pipeline moves, without asking the database. An outage is no reason to restart, however long it
// takes to try every address of the database. A loop that does not come back from one step is, and so are handlers that have kept
// every worker for a minute beyond their deadlines.
func (c *Consumer) Alive() (ok bool, why string) {
	for _, loop := range []struct {
		progress *health.Progress
		hangs    string
	}{
		{c.steps.fetch, "the fetcher has not moved for "},
		{c.steps.settle, "the settler has not moved for "},
		{c.steps.heartbeat, "the heartbeat has not moved for "},
		{c.steps.poll, "the poller has not moved for "},
		{c.steps.stuck, "every worker has been occupied by a handler that ignores its deadline for "},
	} {
		if d := loop.progress.Overdue(); d > 0 {
			return false, loop.hangs + d.Round(time.Second).String()
		}
	}
	for _, lane := range c.steps.ackWork {
		if d := lane.Overdue(); d > 0 {
			return false, "a transaction with the work of orders has not moved for " + d.Round(time.Second).String()
		}
	}
	return true, "moving"
}
