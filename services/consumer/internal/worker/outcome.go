package worker

import (
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// outcome is a delivery with how it is to end.
type outcome struct {
	delivery *delivery
	ending

	unsure      bool      // an earlier try may have taken effect
	unconfirmed bool      // the read that gave us the lease may not have taken effect
	kept        bool      // the last try was suppressed by the database
	after       time.Time // not to be tried before
	tries       int
}

func (o *outcome) entry() queue.Entry {
	e := queue.EntryOf(&o.delivery.msg)
	e.Delay, e.Reason, e.Error, e.Unsure = o.delay, o.reason, o.problem, o.unsure
	if o.unconfirmed {
		e.Until = o.delivery.msg.Until
	}
	return e
}
