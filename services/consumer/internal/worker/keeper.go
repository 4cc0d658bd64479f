package worker

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// keeper looks after what is held: it extends leases before they end, cancels the handlers of those that were lost, and
// gives up on handlers that ignore their deadline.
type keeper struct {
	*Consumer
	link *pg.Link
}

// tick is how often to look: often enough for a tenth of the visibility timeout not to matter.
func (k *keeper) tick() time.Duration {
	return min(max(k.settings.Visible/20, 50*time.Millisecond), time.Second)
}

// heartbeat extends leases in batches.
func (k *keeper) heartbeat(ctx context.Context) {
	k.everyTick(ctx, func(now time.Time) {
		for batch := range slices.Chunk(k.held.expiring(now), mostWritten) {
			if batch = k.held.extending(batch); len(batch) > 0 {
				k.extend(ctx, batch)
			}
		}
	})
}

// watch enforces what time alone decides, and never waits for the database.
func (k *keeper) watch(ctx context.Context) {
	// A handler that heeds its context gets this long to return an error of its own.
	grace := min(max((k.settings.Visible-k.settings.HandlerTimeout)/2, 100*time.Millisecond), time.Second)
	k.everyTick(ctx, func(now time.Time) {
		for _, f := range k.held.expire(now, handler.ErrLeaseExpired) {
			k.metrics.LeaseLost.WithLabelValues("expired").Inc()
			k.logAbout(slog.LevelWarn, "Lease could not be extended in time: its handler is cancelled", &f.msg)
		}
		for _, f := range k.held.abandon(now, grace) {
			k.logAbout(slog.LevelError, "Handler ignores its deadline: its message is given up, its worker stays occupied until it returns",
				&f.msg, slog.Int("stuck_workers", k.held.stuckSlots()))
			k.settler.put(k.outcome(f, overrun{}))
		}
		k.metrics.StuckSlots.Set(float64(k.held.stuckSlots()))
		k.metrics.Buffered.Set(float64(k.held.waiting.Load()))
		k.metrics.Held.Set(float64(k.held.size.Load()))
		signal(k.load.room) // slots that got stuck or free change the arithmetic
	})
}

// everyTick calls look until ctx ends; with nothing held that costs next to nothing.
func (k *keeper) everyTick(ctx context.Context, look func(now time.Time)) {
	ticker := time.NewTicker(k.tick())
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

func (k *keeper) extend(ctx context.Context, flights []*flight) {
	byLease := make(map[queue.Lease]*flight, len(flights))
	entries := make([]queue.Entry, 0, len(flights))
	for _, f := range flights {
		e := queue.EntryOf(&f.msg)
		byLease[e.Lease] = f
		entries = append(entries, e)
	}
	var sent time.Time
	length := k.lease.length()
	var confirmed queue.Confirmed
	var fates map[queue.Lease]queue.Fate
	k.steps.heartbeat.begin(0)
	err := k.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		sent = time.Now()
		confirmed, err = k.queue.Extend(ctx, conn, entries, length)
		if err != nil || len(confirmed) == len(entries) {
			return err
		}
		fates, err = k.queue.Fates(ctx, conn, missing(entries, confirmed), k.settings.ID)
		return err
	})
	k.steps.heartbeat.end()
	if err != nil {
		k.log.Debug("heartbeat failed, trying again", "error", err.Error(), "leases", len(entries))
	}
	if len(confirmed) > 0 {
		k.lease.note(time.Since(sent))
	}
	k.metrics.Heartbeats.Inc()
	k.metrics.Extended.Add(float64(len(confirmed)))
	extended := make([]*flight, 0, len(confirmed))
	for l := range confirmed {
		extended = append(extended, byLease[l])
	}
	k.held.extended(flights, extended, time.Now(), sent.Add(length))
	for l, fate := range fates {
		f := byLease[l]
		if fate != queue.Lost || !k.held.lose(f, handler.ErrLeaseLost) {
			continue // locked just now, or decided meanwhile
		}
		k.metrics.LeaseLost.WithLabelValues("heartbeat").Inc()
		k.logAbout(slog.LevelWarn, "Lease lost: the message has been read again or removed; its handler is cancelled", &f.msg,
			slog.Int("read_ct", int(f.msg.ReadCount)))
	}
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
