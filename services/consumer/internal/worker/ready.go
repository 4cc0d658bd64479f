package worker

import (
	"cmp"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/fetch"
)

// Ready says whether the consumer can do its work at present, and if not, why.
func (c *Consumer) Ready() (ok bool, why string) {
	reachable, since, why := c.server.Reachable()
	switch {
	case c.draining.Load():
		return false, "draining"
	case !reachable:
		return false, why + " since " + since.UTC().Format(time.RFC3339)
	case c.readHealth.Refused() != "":
		return false, "reading is refused: " + c.readHealth.Refused()
	case c.workHealth.Refused() != "":
		return false, c.workHealth.Refused()
	case c.writeHealth.Refused() != "":
		return false, "writing is refused: " + c.writeHealth.Refused()
	case !c.schemaReady.Load():
		return false, "database schema is not there yet"
	}
	for _, op := range ending.Ops() {
		if refused := c.endHealth[op].Refused(); refused != "" {
			return false, "writing is refused: " + refused
		}
	}
	if kept := c.unwritten.Why(); kept != "" {
		return false, kept
	}
	if refused := c.gate.Refused(); refused != "" {
		return false, "sharing the breaker's state is refused: " + refused
	}
	status := cmp.Or(c.gate.Status(), "consuming")
	if c.deaf.Load() {
		status += "; looking for messages every " + fetch.Every(c.settings.Poll).String() + " instead of listening, because of a connection pooler in transaction mode"
	}
	return true, status
}
