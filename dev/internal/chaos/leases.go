package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// leases watches the queue and remembers how often each message was seen handed out. A message seen with its n-th lease must not be
// completed under an earlier one: that is the lease check, and the ledger alone cannot see it, because a message can be deleted only
// once, whoever does it.
type leases struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
	err    error

	mu   sync.Mutex
	seen map[int64]int32 // attempts, by message
}

const (
	watchInterval = 50 * time.Millisecond
	leasesSQL     = `select msg_id, coalesce((headers->>'orderflow-delivered')::int, 0) - coalesce((headers->>'orderflow-released')::int, 0)
		from pgmq.q_order_queue where read_ct > 1`
	brokenSQL = `select count(*) from unnest($1::bigint[], $2::int[]) as s (msg_id, attempt)
		join public.orders o on o.message_id = s.msg_id where o.attempts < s.attempt`
)

func (r *Rig) watchLeases(ctx context.Context) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &leases{cancel: cancel, seen: map[int64]int32{}}
	r.leases = w
	w.work.Go(func() {
		defer conn.Close(context.WithoutCancel(ctx))
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := w.look(ctx, conn); err != nil {
					if ctx.Err() == nil {
						w.err = err
					}
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (w *leases) look(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, leasesSQL)
	if err != nil {
		return err
	}
	var msgID int64
	var attempt int32
	_, err = pgx.ForEachRow(rows, []any{&msgID, &attempt}, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[msgID] = max(w.seen[msgID], attempt)
		return nil
	})
	return err
}

func (w *leases) stop() error {
	w.cancel()
	w.work.Wait()
	return w.err
}

// checkLeases holds the consumers to it: after account, when all orders are settled.
func (r *Rig) checkLeases(ctx context.Context) error {
	if err := r.leases.stop(); err != nil {
		return errors.Join(errors.New("watch the leases"), err)
	}
	var ids []int64
	var attempts []int32
	for id, attempt := range r.leases.seen {
		ids, attempts = append(ids, id), append(attempts, attempt)
	}
	broken, err := r.scalar(ctx, brokenSQL, ids, attempts)
	if err != nil {
		return err
	}
	r.check(broken == 0, "orders completed under a lease that another consumer had taken over", broken, 0)
	return nil
}
