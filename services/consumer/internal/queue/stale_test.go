package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/queue"
)

// Whatever a consumer writes about a message that another one has read since, it changes nothing.
func TestNothingIsWrittenUnderAStaleLease(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	stale := entries(b.read(1)...)
	b.expire(stale[0].ID)
	fresh := entries(b.read(1)...)
	stale[0].Reason, stale[0].Error, stale[0].Delay = "permanent", "of a stale lease", time.Hour
	row := `select format('%s %s %s %s', q, o.status, o.attempts, o.effects) from pgmq.q_order_queue as q, public.orders as o`
	before := b.state(row)
	for name, write := range map[string]func(context.Context, *pgx.Conn, []queue.Entry) (queue.Confirmed, error){
		"ack": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Ack(ctx, c, e, me)
		},
		"ack of what is not locked": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.AckUnlocked(ctx, c, e, me)
		},
		"nack":                   b.Nack,
		"nack without the order": b.NackMessageOnly,
		"release":                b.Release,
		"extend": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Extend(ctx, c, e, time.Hour)
		},
		"bury": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Bury(ctx, c, e, me)
		},
	} {
		if got := b.confirmed(write(b.ctx, b.conn, stale)); len(got) > 0 {
			t.Errorf("%s was confirmed", name)
		}
		if after := b.state(row); after != before {
			t.Fatalf("%s changed\n%s into\n%s", name, before, after)
		}
	}
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, fresh, me)), fresh[0].ID)
}
