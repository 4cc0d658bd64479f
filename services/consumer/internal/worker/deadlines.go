package worker

import (
	"context"
	"log/slog"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
)

// deadlines enforces what time alone decides, and never waits for the database: it cancels the handlers whose leases have run out,
// and gives up on those that ignore their deadline.
type deadlines struct {
	held    *held
	visible time.Duration
	grace   time.Duration        // that a handler gets after its deadline, to return an error of its own
	giveUp  func(late *delivery) // settles the message of a handler that goes on all the same
	room    chan struct{}        // signalled when workers may have got stuck or free
	log     *slog.Logger
	metrics *metrics.Metrics
}

// graceOf is what a handler that heeds its context can need to return, and what the visibility timeout leaves for it.
func graceOf(visible, handlerTimeout time.Duration) time.Duration {
	return min(max((visible-handlerTimeout)/2, 100*time.Millisecond), time.Second)
}

// run looks at every tick, until ctx ends.
func (d *deadlines) run(ctx context.Context) {
	everyTick(ctx, d.visible, func(now time.Time) {
		for _, late := range d.held.expire(now, handler.ErrLeaseExpired) {
			d.metrics.LeaseLost.WithLabelValues("expired").Inc()
			logAbout(d.log, slog.LevelWarn, "lease could not be extended in time: its handler is cancelled", &late.msg)
		}
		for _, late := range d.held.abandon(now, d.grace) {
			logAbout(d.log, slog.LevelError, "handler ignores its deadline: its message is given up, its worker stays occupied until it returns",
				&late.msg, slog.Int("stuck_workers", d.held.stuckSlots()))
			d.giveUp(late)
		}
		d.metrics.StuckSlots.Set(float64(d.held.stuckSlots()))
		d.metrics.Buffered.Set(float64(d.held.buffered.Load()))
		d.metrics.Held.Set(float64(d.held.size.Load()))
		signal(d.room)
	})
}
