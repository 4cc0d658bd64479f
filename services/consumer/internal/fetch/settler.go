package fetch

import (
	"context"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
)

// Settler ends the deliveries that no worker will have. It never blocks, but in CatchUp.
type Settler interface {
	// Settle takes over a delivery that is leaving, because of what has happened to it.
	Settle(d *lease.Delivery, what ending.Event)
	// Put takes over one of which it has been decided how it ends.
	Put(d *lease.Delivery, end ending.Ending)
	// Doubt takes over one of a read whose commit went unanswered: the lease may not be ours.
	Doubt(d *lease.Delivery)
	// Overdue says whether results wait for a connection.
	Overdue() bool
	// CatchUp has them written, now that there is one. It returns soon in any case.
	CatchUp(ctx context.Context)
}
