package screen

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// Options say how to show it.
type Options struct {
	Mode     string // auto, screen, lines or off
	Every    time.Duration
	Log      *slog.Logger
	Terminal *Terminal
}

// Show shows the view until the context ends.
func Show(ctx context.Context, v *View, o Options) {
	switch {
	case o.Mode == "off":
		<-ctx.Done()
	case o.Mode == "screen", o.Mode == "auto" && o.Terminal.Terminal():
		live(ctx, v, o)
	default:
		lines(ctx, v, o)
	}
}

// lines writes a line of progress every few seconds: for people in the message, for programs in the attributes.
func lines(ctx context.Context, v *View, o Options) {
	ticker := time.NewTicker(o.Every)
	defer ticker.Stop()
	before := v.look(time.Now(), nil)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s := v.look(now, &before)
			line(o.Log, v, &s)
			before = s
		}
	}
}

func line(log *slog.Logger, v *View, s *state) {
	if s.Queue != nil {
		log = log.With(slog.Int("queue_depth", s.Queue.Depth))
	}
	if s.auditing {
		p := s.progress
		log.Info(fmt.Sprintf("audit %3.0f%%: %d of %d settled", s.done*100, p.Completed+p.Dead, p.Accepted),
			slog.Int("accepted", p.Accepted), slog.Int("completed", p.Completed), slog.Int("dead", p.Dead), slog.Int("pending", p.Pending),
			slog.Int("missing", p.Missing), slog.Bool("estimated", p.Estimated))
		return
	}
	t := &s.Totals
	log.Info(fmt.Sprintf("sending %3.0f%%: %d accepted, %.0f/s, p50 %s, p99 %s", s.done*100, t.Accepted, s.rate, thresholds.Duration(s.P50), thresholds.Duration(s.P99)),
		slog.Int64("sent", t.Sent), slog.Int64("accepted", t.Accepted), slog.Int("total", v.Total), slog.Float64("rate", s.rate),
		slog.Float64("p50_ms", s.P50.Seconds()*1000), slog.Float64("p99_ms", s.P99.Seconds()*1000),
		slog.Int64("in_flight", s.InFlight), slog.Int64("failed_tries", t.Failed), slog.Int64("retries", t.Retries),
		slog.Int64("late", t.Late), slog.Int64("dropped", t.Dropped))
}
