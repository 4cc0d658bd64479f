package lease

import (
	"context"
	"log/slog"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/signal"
)

// Deadlines enforces what time alone decides, and never waits for the database: it cancels the handlers whose leases have run out,
// and gives up on those that ignore their deadline.
type Deadlines struct {
	Held    *Set
	Visible time.Duration        // visibility timeout
	Grace   time.Duration        // that a handler gets after its deadline, to return an error of its own
	GiveUp  func(late *Delivery) // settles the message of a handler that goes on all the same
	Room    signal.Signal        // sent when workers may have got stuck or free
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// GraceOf is what a handler that heeds its context can need to return, and what the visibility timeout leaves for it.
func GraceOf(visible, handlerTimeout time.Duration) time.Duration {
	return min(max((visible-handlerTimeout)/2, 100*time.Millisecond), time.Second)
}

// Run looks at every tick, until ctx ends.
func (d *Deadlines) Run(ctx context.Context) {
	everyTick(ctx, d.Visible, func(now time.Time) {
		for _, late := range d.Held.expire(now, handler.ErrLeaseExpired) {
			d.Metrics.LeaseLost.WithLabelValues("expired").Inc()
			message.Log(d.Log, slog.LevelWarn, "lease could not be extended in time: its handler is cancelled", &late.Message)
		}
		for _, late := range d.Held.abandon(now, d.Grace) {
			message.Log(d.Log, slog.LevelError, "handler ignores its deadline: its message is given up, its worker stays occupied until it returns",
				&late.Message, slog.Int("stuck_workers", d.Held.Counts().Stuck))
			d.GiveUp(late)
		}
		d.Room.Send()
	})
}
