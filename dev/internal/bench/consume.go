package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// Handlers that take no time: what is left is the queue.
var (
	asShipped = []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none"}
	atItsBest = append([]string{"BATCH_SIZE=1000", "CONCURRENCY=64"}, asShipped...)
)

const preloaded = 200_000

// consuming compares consumers with each other, and with messages taken one by one.
func (b *Bench) consuming() []group {
	inTransaction := append([]string{"BATCH_SIZE=1000", "CONCURRENCY=64"}, stack.InTransaction()...)
	return []group{
		{
			name: "consume", title: "Consuming without work", note: fmt.Sprintf("%d orders wait; ended early where %v do not suffice.", preloaded, b.Span*3),
			contenders: append([]contender{
				b.consumeDirectly(),
				b.consume("one consumer, as shipped", 1, asShipped, preloaded, 0),
				b.consume("four consumers, as shipped", 4, asShipped, preloaded, 0),
				b.consume("one consumer, BATCH_SIZE=1000 CONCURRENCY=64", 1, atItsBest, preloaded, 0),
				b.consume("four consumers, BATCH_SIZE=1000 CONCURRENCY=64", 4, atItsBest, preloaded, 0),
			}, b.riverWork()...),
		},
		{
			name: "backlog", title: "Consuming beside a backlog", note: "One consumer at its best.",
			contenders: []contender{
				b.consume("10,000 wait", 1, atItsBest, 10_000, 0),
				b.consume("1,000,000 wait", 1, atItsBest, 1_000_000, 0),
				b.consume("10,000 wait, behind 1,000,000 that are delayed", 1, atItsBest, 10_000, 1_000_000),
			},
		},
		{
			name: "effects", title: "Consuming with an effect in the database", note: "One consumer at its best.",
			contenders: []contender{
				b.consume("no work", 1, atItsBest, preloaded, 0),
				b.consume("HANDLER=sql, an insert for each order", 1, inTransaction, preloaded, 0),
			},
		},
	}
}

// consume lets consumers work on what waits, as fast as they can, for three spans at most.
func (b *Bench) consume(name string, consumers int, settings []string, due, delayed int) contender {
	return contender{name: name, measure: func(ctx context.Context) (figures, error) {
		if delayed > 0 {
			if err := b.fill(ctx, delayed, time.Hour); err != nil {
				return figures{}, err
			}
		}
		if err := b.fill(ctx, due, 0); err != nil {
			return figures{}, err
		}
		meter, err := b.meter(ctx)
		if err != nil {
			return figures{}, err
		}
		began := time.Now()
		s := b.stack()
		for i := range consumers {
			if _, err := s.StartConsumer(ctx, fmt.Sprintf("consumer-%d", i+1), settings...); err != nil {
				return figures{}, err
			}
		}
		if err := b.drained(ctx); err != nil {
			return figures{}, err
		}
		meter.look(s)
		if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
			return figures{}, err
		}
		var got figures
		var completed int
		err = b.with(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `
				select count(*), count(*) / greatest(extract(epoch from max(completed_at) - min(completed_at)), 0.001)::float8
				from public.orders where id > (select max(id) from public.orders) - $1 and completed_at > $2`, due+delayed, began).Scan(&completed, &got.rate)
		})
		if err != nil {
			return figures{}, err
		}
		got.cost, err = meter.read(ctx, completed)
		return got, err
	}}
}

// drained waits until no message is due any more, or the time is over.
func (b *Bench) drained(ctx context.Context) error {
	return b.with(ctx, func(conn *pgx.Conn) error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		over := time.After(3 * b.Span)
		for {
			// What is leased is due soon; what was delayed is not.
			var due bool
			if err := conn.QueryRow(ctx, "select exists (select from pgmq.q_order_queue where vt < clock_timestamp() + interval '10 minutes')").Scan(&due); err != nil || !due {
				return err
			}
			select {
			case <-tick.C:
			case <-over:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}
