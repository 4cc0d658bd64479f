package lease

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Heartbeats extends the leases of what is held before they end, and cancels the handlers of those that were lost.
type Heartbeats struct {
	Link     *pg.Link // which workers use as well, so that it is watched by its calls
	Queue    *queue.Queue
	Held     *Set
	Term     *Term
	Consumer string // CONSUMER_ID, as the database knows it
	Log      *slog.Logger
	Metrics  *metrics.Metrics

	most int // leases in one statement, where statements fail or take too long; 0: mostExtended
}

// mostExtended is the size of one statement. Beyond a thousand the gain is small.
const mostExtended = 1000

// Run looks at every tick for what is to be extended, until ctx ends.
func (h *Heartbeats) Run(ctx context.Context) {
	everyTick(ctx, h.Term.visible, func(now time.Time) { h.look(ctx, now) })
}

// look extends what is to be extended now.
func (h *Heartbeats) look(ctx context.Context, now time.Time) {
	for left := h.Held.expiring(now); len(left) > 0; {
		n := min(h.largest(), len(left)) // which changes with each statement
		if batch := h.Held.claimForHeartbeat(left[:n]); len(batch) > 0 {
			h.beat(ctx, batch)
		}
		left = left[n:]
	}
}

// largest is how many leases the next statement may be about.
func (h *Heartbeats) largest() int { return cmp.Or(h.most, mostExtended) }

// beat extends the leases of deliveries, which it has claimed.
func (h *Heartbeats) beat(ctx context.Context, deliveries []*Delivery) {
	var x extension
	var might time.Duration
	var fates map[queue.Lease]queue.Fate
	err := h.Link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		might = pg.MayTake(ctx)
		if x, err = h.extend(ctx, conn, deliveries); err != nil || len(x.extended) == len(deliveries) {
			return err
		}
		fates, err = h.Queue.Fates(ctx, conn, x.missing, h.Consumer)
		return err
	})
	switch {
	case errors.Is(err, pg.ErrNoAnswer), queue.StatementFailed(err): // perhaps one of them is at fault: halving loses none of the others
		h.most = queue.Less(h.largest(), len(deliveries))
	case err == nil:
		h.most = queue.More(h.largest(), len(deliveries), time.Since(x.sent), might, mostExtended)
	}
	if err != nil {
		h.Log.Debug("heartbeat failed, trying again", "error", err.Error(), "leases", len(deliveries))
	}
	if len(x.extended) > 0 {
		h.Term.Note(time.Since(x.sent))
	}
	h.Metrics.Heartbeats.Inc()
	h.Held.heartbeatDone(deliveries, x.extended, time.Now(), x.until)
	for l, fate := range fates {
		d := x.byLease[l]
		if fate != queue.Lost || !h.Held.lose(d, handler.ErrLeaseLost) {
			continue // locked just now, or decided meanwhile
		}
		h.Metrics.LeaseLost.WithLabelValues("heartbeat").Inc()
		message.Log(h.Log, slog.LevelWarn, "lease lost: the message has been read again or removed; its handler is cancelled", &d.Message,
			slog.Int("read_ct", int(d.Message.ReadCount)))
	}
}

// Hold makes those leases hold until then which end before. The caller has claimed them, and may have a transaction open on the connection.
func (h *Heartbeats) Hold(ctx context.Context, conn *pgx.Conn, deliveries []*Delivery, then time.Time) error {
	short := h.Held.endingBefore(deliveries, then)
	if len(short) == 0 {
		return nil
	}
	x, err := h.extend(ctx, conn, short)
	if err == nil {
		h.Held.renewed(x.extended, time.Now(), x.until)
	}
	return err
}

// extension is what a statement that extends leases has brought.
type extension struct {
	byLease  map[queue.Lease]*Delivery
	extended []*Delivery
	missing  []queue.Entry // which it has not extended
	sent     time.Time
	until    time.Time // the extended leases hold at least until then
}

func (h *Heartbeats) extend(ctx context.Context, conn *pgx.Conn, deliveries []*Delivery) (extension, error) {
	x := extension{byLease: make(map[queue.Lease]*Delivery, len(deliveries))}
	entries := make([]queue.Entry, len(deliveries))
	for i, d := range deliveries {
		entries[i] = queue.EntryOf(&d.Message, true)
		x.byLease[entries[i].Lease] = d
	}
	length := h.Term.Length()
	x.sent = time.Now()
	confirmed, err := h.Queue.Extend(ctx, conn, entries, length)
	if err != nil {
		return extension{}, err
	}
	h.Metrics.Extended.Add(float64(len(confirmed)))
	x.until, x.missing = x.sent.Add(length), confirmed.Missing(entries)
	for l := range confirmed {
		x.extended = append(x.extended, x.byLease[l])
	}
	return x, nil
}

// MakeKnown makes the start of a delivery known, before it: should the process die of it, the next read will tell. It goes over the heartbeats' link.
// known is false when the lease has been lost.
func (h *Heartbeats) MakeKnown(ctx context.Context, d *Delivery) (known bool, err error) {
	sent := time.Now()
	err = h.Link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		known, err = h.Queue.Start(ctx, conn, queue.EntryOf(&d.Message, true), h.Consumer)
		return err
	})
	h.Metrics.StatementSeconds.WithLabelValues("start").Observe(time.Since(sent).Seconds())
	return known, err
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
