package worker

import (
	"cmp"
	"time"
)

// Ready says whether the consumer can do its work at present, and if not, why.
func (c *Consumer) Ready() (ok bool, why string) {
	reachable, since, why := c.server.Reachable()
	switch {
	case c.draining.Load():
		return false, "draining"
	case !reachable:
		return false, why + " since " + since.UTC().Format(time.RFC3339)
	case c.reads.now() != "":
		return false, "reading is refused: " + c.reads.now()
	case c.working.now() != "":
		return false, c.working.now()
	case c.writing.now() != "":
		return false, "writing is refused: " + c.writing.now()
	case !c.schemaReady.Load():
		return false, "database schema is not there yet"
	}
	for o := range operations {
		if refused := c.writes[o].now(); refused != "" {
			return false, "writing is refused: " + refused
		}
	}
	if kept := c.unwritten.now(); kept != "" {
		return false, kept
	}
	if refused := c.gate.health.now(); refused != "" {
		return false, "sharing the breaker's state is refused: " + refused
	}
	status := cmp.Or(c.gate.status(), "consuming")
	if c.deaf.Load() {
		status += "; looking for messages every " + min(c.settings.Poll, pollDeaf).String() + " instead of listening, because of a connection pooler in transaction mode"
	}
	return true, status
}
