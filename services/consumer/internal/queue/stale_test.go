package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// Whatever a consumer writes about a message that another one has read since, it changes nothing.
func TestNothingIsWrittenUnderAStaleLease(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	stale := entries(b.read(1)...)
	b.expire(stale[0].ID)
	fresh := entries(b.read(1)...)
	stale[0].Error, stale[0].Delay = "of a stale lease", time.Hour
	row := `select format('%s %s %s %s', q, o.status, o.attempts, o.effects) from pgmq.q_order_queue as q, public.orders as o`
	before := b.state(row)
	for name, write := range b.writes() {
		if got := b.confirmed(write(b.ctx, b.conn, stale)); len(got) > 0 {
			t.Errorf("%s was confirmed", name)
		}
		if after := b.state(row); after != before {
			t.Fatalf("%s changed\n%s into\n%s", name, before, after)
		}
	}
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, fresh, me)), fresh[0].ID)
}

// An ack whose answer was lost is known by the mark of its attempt on the order. The mark of another attempt is not it.
func TestTheMarkOfAnotherAttemptIsNotOurs(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	acked := entries(b.read(1)...)
	b.wantIDs(b.confirmed(b.Ack(b.ctx, b.conn, acked, me)), acked[0].ID)
	acked[0].Unsure = true
	for attempt, want := range map[int32]queue.Fate{acked[0].Attempt: queue.Done, acked[0].Attempt + 1: queue.Lost} {
		asked := []queue.Entry{acked[0]}
		asked[0].Attempt = attempt
		if fates, err := b.Fates(b.ctx, b.conn, asked, me); err != nil || fates[asked[0].Lease] != want {
			t.Errorf("attempt %d: %v, %v, want %v", attempt, fates, err, want)
		}
	}
}

// writes are all statements that write under a lease.
func (b *bundle) writes() map[string]func(context.Context, *pgx.Conn, []queue.Entry) (queue.Confirmed, error) {
	return map[string]func(context.Context, *pgx.Conn, []queue.Entry) (queue.Confirmed, error){
		"ack": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Ack(ctx, c, e, me)
		},
		"ack of what is not locked": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.AckUnlocked(ctx, c, e, me)
		},
		"ack with work": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			open, err := b.OpenAck(ctx, c, e, false, me, queue.Sharing{})
			if err != nil {
				return nil, err
			}
			return open.Commit(ctx)
		},
		"nack": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Nack(ctx, c, e, me)
		},
		"nack without the order": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.NackMessageOnly(ctx, c, e, me)
		},
		"release": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Release(ctx, c, e, me)
		},
		"start": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			known, err := b.Start(ctx, c, e[0], me)
			if !known {
				return nil, err
			}
			return queue.Confirmed{e[0].Lease: 0}, err
		},
		"extend": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			return b.Extend(ctx, c, e, time.Hour)
		},
		"bury": func(ctx context.Context, c *pgx.Conn, e []queue.Entry) (queue.Confirmed, error) {
			// The reason also says what an unsure lease was used for, so it stays with the burial.
			e[0].Reason = message.ReasonPermanent
			defer func() { e[0].Reason = "" }()
			return b.Bury(ctx, c, e, me)
		},
	}
}
