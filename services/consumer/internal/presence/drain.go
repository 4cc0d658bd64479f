package presence

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Reporter sends reports by themselves, where the poller has ended: on its link, which nobody else uses any more.
type Reporter struct {
	Presence  *Presence
	Link      *pg.Link
	Queue     *queue.Queue
	Progress  *health.Progress
	GoneLimit time.Duration // that the last report may take
}

// Drain goes on with the reports when the poller has ended, as polled says. What it returns ends that, with a last report: the row
// says that this consumer is gone, and the api removes it when it has counted what is in it.
func (r *Reporter) Drain(ctx context.Context, polled <-chan struct{}) (sayGone func()) {
	draining, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { r.run(draining, polled) })
	return func() {
		stop()
		ended.Wait()
		limited, cancel := context.WithTimeout(ctx, r.GoneLimit)
		defer cancel()
		last := r.Presence.report()
		last.State, last.Age = "gone", time.Since(r.Presence.started)
		r.send(limited, &last)
	}
}

func (r *Reporter) run(ctx context.Context, polled <-chan struct{}) {
	select {
	case <-polled:
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(reportWorking)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if report := r.Presence.Due(now); report != nil {
				r.send(ctx, report)
			}
		}
	}
}

func (r *Reporter) send(ctx context.Context, report *queue.Report) {
	r.Progress.Begin(0)
	defer r.Progress.End()
	_ = r.Link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error { // an outage is told of elsewhere
		unreported, err := r.Queue.Report(ctx, conn, report)
		if err == nil {
			r.Presence.Reported(unreported)
		}
		return err
	})
}
