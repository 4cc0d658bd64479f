package orders_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/orders"
)

// alone writes one order and its message in a statement of its own: what the writer is measured against.
const alone = `
	with fresh as (
		insert into orders (customer_name, product_name, quantity, price, idempotency_key)
		values ($1, $2, $3, $4::bigint * 0.01, $5)
		returning id, created_at, price
	),
	sent as (
		select fresh.id, s.msg_id
		from fresh, pgmq.send('order_queue', jsonb_build_object(
			'order_id', fresh.id, 'customer_name', $1::text, 'product_name', $2::text, 'quantity', $3::int, 'price', fresh.price,
			'created_at', fresh.created_at), jsonb_build_object('schema', 1, 'traceparent', $6::text)) s (msg_id)
	)
	select id, msg_id from sent`

// BenchmarkPublish writes orders by the writer and, in the same run on the same database, each in a statement of its own with a
// connection for every client. Absolute figures are the machine's; the ratio is the writer's.
func BenchmarkPublish(b *testing.B) {
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			w := newWriter(b, nil)
			crowd := func(n int, write func(i int) error) time.Duration {
				var wg sync.WaitGroup
				var next atomic.Int64
				started := time.Now()
				for range clients {
					wg.Go(func() {
						for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
							if err := write(i); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				return time.Since(started)
			}
			batched := func(n int, run string) time.Duration {
				return crowd(n, func(i int) error {
					_, err := w.Write(orders.Request{Orders: []orders.Draft{order(i)}, Key: fmt.Sprintf("%s-%d", run, i), Traceparent: traceparent})
					return err
				})
			}
			batched(clients, "warm")
			b.ReportAllocs()
			b.ResetTimer()
			took := batched(b.N, "run")
			b.StopTimer()

			pool := openPool(b, w.url, min(clients, 64))
			single := func(n int, run string) time.Duration {
				return crowd(n, func(i int) error {
					o := order(i)
					var id, msgID int64
					return pool.QueryRow(b.Context(), alone, o.CustomerName, o.ProductName, o.Quantity, int64(o.Price), fmt.Sprintf("%s-%d", run, i), traceparent).
						Scan(&id, &msgID)
				})
			}
			single(clients, "alone-warm")
			n := max(b.N/4, 1)
			tookAlone := single(n, "alone")

			perSecond, alonePerSecond := float64(b.N)/took.Seconds(), float64(n)/tookAlone.Seconds()
			b.ReportMetric(perSecond, "orders/s")
			b.ReportMetric(alonePerSecond, "alone/s")
			b.ReportMetric(perSecond/alonePerSecond, "ratio")
		})
	}
}

func openPool(tb testing.TB, url string, size int) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.MaxConns = int32(size)
	// As many connections as clients is all that one statement an order can ask for.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	pool, err := pgxpool.NewWithConfig(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}
