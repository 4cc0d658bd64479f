package worker

import "time"

// steps are what each loop is at.
type steps struct {
	fetch, settle, heartbeat, poll progress
	stuck                          progress   // no worker is free of a handler that ignores its deadline
	ackWork                        []progress // of each lane for ack work
}

// watchSteps chooses the clock that steps are measured by.
func (c *Consumer) watchSteps(now func() time.Time) {
	for _, p := range []*progress{&c.steps.fetch, &c.steps.settle, &c.steps.heartbeat, &c.steps.poll, &c.steps.stuck} {
		p.now = now
	}
	for i := range c.steps.ackWork {
		c.steps.ackWork[i].now = now
	}
}

// Alive says whether the pipeline moves, without asking the database. An outage is no reason to restart, however long it
// takes to try every address of the database. A loop that does not come back from one step is, and so are handlers that have kept
// every worker for a minute beyond their deadlines.
func (c *Consumer) Alive() (ok bool, why string) {
	for _, loop := range []struct {
		progress *progress
		hangs    string
	}{
		{&c.steps.fetch, "the fetcher has not moved for "},
		{&c.steps.settle, "the settler has not moved for "},
		{&c.steps.heartbeat, "the heartbeat has not moved for "},
		{&c.steps.poll, "the poller has not moved for "},
		{&c.steps.stuck, "every worker has been occupied by a handler that ignores its deadline for "},
	} {
		if d := loop.progress.overdue(); d > 0 {
			return false, loop.hangs + d.Round(time.Second).String()
		}
	}
	for i := range c.steps.ackWork {
		if d := c.steps.ackWork[i].overdue(); d > 0 {
			return false, "a transaction with the work of orders has not moved for " + d.Round(time.Second).String()
		}
	}
	return true, "moving"
}
