package worker

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// heartbeats extends the leases of what is held before they end, and cancels the handlers of those that were lost.
type heartbeats struct {
	link     *pg.Link
	queue    *queue.Queue
	held     *held
	lease    *lease
	progress *progress
	consumer string
	log      *slog.Logger
	metrics  *metrics.Metrics
}

// run looks at every tick for what is to be extended, until ctx ends.
func (h *heartbeats) run(ctx context.Context) {
	everyTick(ctx, h.lease.visible, func(now time.Time) {
		for batch := range slices.Chunk(h.held.expiring(now), mostWritten) {
			if batch = h.held.claimForHeartbeat(batch); len(batch) > 0 {
				h.extend(ctx, batch)
			}
		}
	})
}

func (h *heartbeats) extend(ctx context.Context, deliveries []*delivery) {
	byLease := make(map[queue.Lease]*delivery, len(deliveries))
	entries := make([]queue.Entry, 0, len(deliveries))
	for _, d := range deliveries {
		e := queue.EntryOf(&d.msg)
		byLease[e.Lease] = d
		entries = append(entries, e)
	}
	var sent time.Time
	length := h.lease.length()
	var confirmed queue.Confirmed
	var fates map[queue.Lease]queue.Fate
	h.progress.begin(0)
	err := h.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		sent = time.Now()
		confirmed, err = h.queue.Extend(ctx, conn, entries, length)
		if err != nil || len(confirmed) == len(entries) {
			return err
		}
		fates, err = h.queue.Fates(ctx, conn, missing(entries, confirmed), h.consumer)
		return err
	})
	h.progress.end()
	if err != nil {
		h.log.Debug("heartbeat failed, trying again", "error", err.Error(), "leases", len(entries))
	}
	if len(confirmed) > 0 {
		h.lease.note(time.Since(sent))
	}
	h.metrics.Heartbeats.Inc()
	h.metrics.Extended.Add(float64(len(confirmed)))
	extended := make([]*delivery, 0, len(confirmed))
	for l := range confirmed {
		extended = append(extended, byLease[l])
	}
	h.held.heartbeatDone(deliveries, extended, time.Now(), sent.Add(length))
	for l, fate := range fates {
		d := byLease[l]
		if fate != queue.Lost || !h.held.lose(d, handler.ErrLeaseLost) {
			continue // locked just now, or decided meanwhile
		}
		h.metrics.LeaseLost.WithLabelValues("heartbeat").Inc()
		logAbout(h.log, slog.LevelWarn, "lease lost: the message has been read again or removed; its handler is cancelled", &d.msg,
			slog.Int("read_ct", int(d.msg.ReadCount)))
	}
}

// start makes the start of a delivery known: a sign of life, too, so that it needs no connection of its own. known is false when the lease
// has been lost.
func (h *heartbeats) start(ctx context.Context, d *delivery) (known bool, err error) {
	h.progress.begin(0)
	defer h.progress.end()
	sent := time.Now()
	err = h.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		known, err = h.queue.Start(ctx, conn, queue.EntryOf(&d.msg), h.consumer)
		return err
	})
	h.metrics.StatementSeconds.WithLabelValues("start").Observe(time.Since(sent).Seconds())
	return known, err
}

// missing are the entries that were not confirmed.
func missing(entries []queue.Entry, confirmed queue.Confirmed) []queue.Entry {
	var rest []queue.Entry
	for _, e := range entries {
		if _, ok := confirmed[e.Lease]; !ok {
			rest = append(rest, e)
		}
	}
	return rest
}

// everyTick calls look until ctx ends, often enough for a twentieth of the visibility timeout not to matter. With nothing held
// that costs next to nothing.
func everyTick(ctx context.Context, visible time.Duration, look func(now time.Time)) {
	ticker := time.NewTicker(min(max(visible/20, 50*time.Millisecond), time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			look(now)
		}
	}
}
