package chaos

import (
	"context"
	"slices"
	"time"
)

// FrozenAPI is an api that stands still for longer than its answers may take, whatever this machine is late.
var FrozenAPI = Fault{
	Name: "frozen-api", Title: "SIGSTOP the api until its slowest answer is too slow",
	Run: func(ctx context.Context, r *Rig) error {
		if err := r.up(ctx, settings{}); err != nil {
			return err
		}
		r.prober = newProber(1, r.api.URL())
		r.prober.client.Timeout = time.Minute // every answer comes, however late
		r.prober.start(ctx)
		err := r.until(ctx, "orders are accepted", func() (bool, error) {
			return slices.ContainsFunc(r.prober.all(), func(one probe) bool { return one.status == 201 }), nil
		})
		if err != nil {
			return err
		}
		if err := r.api.Pause(); err != nil {
			return err
		}
		r.lag.stop() // from now on the bar stands still
		frozen := time.Now()
		err = r.until(ctx, "no answer could be quick enough", func() (bool, error) {
			return time.Since(frozen) > time.Second+2*r.lag.most()+2*time.Second, nil
		})
		if err != nil {
			return err
		}
		if err := r.api.Resume(); err != nil {
			return err
		}
		if err := r.prober.stop(ctx); err != nil {
			return err
		}
		r.checkAnswers()
		return nil
	},
}
