package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/worker"
)

// BenchmarkConsumer measures the whole pipeline on a backlog, effect included, with a handler that does nothing: how far
// BATCH_SIZE takes it, and how near 0 comes, with which reads grow by themselves. The rates are this machine's; their ratios count.
func BenchmarkConsumer(b *testing.B) {
	for _, batch := range []int{0, 30, 100, 500, 1000} {
		b.Run(fmt.Sprintf("BATCH_SIZE=%d", batch), func(b *testing.B) {
			rates := make([]float64, 0, b.N)
			for b.Loop() {
				rates = append(rates, consume(b, backlog{orders: 20_000}, batch, 0, "", noop))
			}
			b.ReportMetric(mean(rates), "orders/s")
		})
	}
}

// BenchmarkWork measures what a row inserted in the transaction of the ack costs: by a function that takes all orders at once, by one that
// takes one at a time, and by a handler in Go, each in turn with a handler that does nothing. The ratios are what
// EFFECT_CONNECTIONS is chosen by, and what docs/handlers.md says.
func BenchmarkWork(b *testing.B) {
	function := effect.NewFunction(pgx.Identifier{"shop", "ship"})
	all := `create function shop.ship(orders public.orders[]) returns void language sql as $$
		insert into shop.shipments select o.id, o.quantity from unnest(orders) as o $$`
	one := `create function shop.ship(o public.orders) returns void language plpgsql as $$ begin
		insert into shop.shipments values (o.id, o.quantity); end $$`
	for _, batch := range []int{30, 500} {
		for _, lanes := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("BATCH_SIZE=%d/EFFECT_CONNECTIONS=%d", batch, lanes), func(b *testing.B) {
				var nothing, together, each, inGo []float64
				for b.Loop() {
					nothing = append(nothing, consume(b, backlog{orders: 20_000}, batch, lanes, "", noop))
					together = append(together, consume(b, backlog{orders: 20_000}, batch, lanes, all, function))
					each = append(each, consume(b, backlog{orders: 20_000}, batch, lanes, one, effect.NewFunction(pgx.Identifier{"shop", "ship"})))
					inGo = append(inGo, consume(b, backlog{orders: 20_000}, batch, lanes, "", inserts{}))
				}
				b.ReportMetric(mean(nothing), "nothing/s")
				b.ReportMetric(mean(together)/mean(nothing), "all-at-once")
				b.ReportMetric(mean(each)/mean(nothing), "one-at-a-time")
				b.ReportMetric(mean(inGo)/mean(nothing), "in-go")
			})
		}
	}
}

// BenchmarkSuspects measures what it costs that all messages were held by consumers that died, once or several times in a row, by
// handlers that do nothing and by some that take their time. A node that is lost leaves some hundreds behind, once.
func BenchmarkSuspects(b *testing.B) {
	for name, h := range map[string]handler.Handler{
		"nothing": noop,
		"10ms":    &handler.Simulate{Work: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler)},
	} {
		for crashes := range 4 {
			b.Run(fmt.Sprintf("work=%s/crashes=%d", name, crashes), func(b *testing.B) {
				var rates []float64
				for b.Loop() {
					rates = append(rates, consume(b, backlog{orders: 1000, crashes: crashes}, 30, 0, "", h))
				}
				b.ReportMetric(mean(rates), "orders/s")
			})
		}
	}
}

// backlog is what is in the queue: so many orders, all of which were held by consumers that died, so often in a row.
type backlog struct{ orders, crashes int }

// consume returns how many orders of a backlog are completed in a second.
func consume(b *testing.B, of backlog, batch, lanes int, function string, h handler.Handler) float64 {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	db := dbtest.New(b)
	db.Publish(of.orders)
	if of.crashes > 0 {
		db.Exec(`update pgmq.q_order_queue set read_ct = $1::integer, headers = headers || jsonb_build_object('orderflow-unanswered', $1::integer)`, of.crashes)
	}
	db.Exec(shop)
	if function != "" {
		db.Exec(function)
	}
	db.Exec(`vacuum analyze public.orders, pgmq.q_order_queue`)
	log := slog.New(slog.DiscardHandler)
	server := pg.NewServer(db.Address(), "benchmark", log, pg.Observer{})
	m := metrics.New("benchmark", dbtest.QueueName, "none")
	c := worker.New(worker.Settings{
		ID: "benchmark", Queue: dbtest.QueueName, Batch: batch, Concurrency: 30, MaxAttempts: 5, MaxCrashes: 5, HeldBytes: 32 << 20, MessageBytes: 1 << 20,
		Visible: 10 * time.Second, HandlerTimeout: 8 * time.Second, Drain: time.Second, Poll: time.Second, AckWorkLanes: lanes,
		Backoff: backoff.Policy{Base: time.Second, Max: time.Minute, Multiplier: 2},
	}, server, h, log, m)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	start := time.Now()
	b.StartTimer()
	go func() { ended <- c.Run(ctx) }()
	await.True(b, "the backlog is done", func() bool {
		return sum(b, m.Registry, "orderflow_consumer_messages_processed_total") == float64(of.orders)
	})
	b.StopTimer()
	took := time.Since(start)
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return float64(of.orders) / took.Seconds()
}

func mean(figures []float64) float64 {
	total := 0.0
	for _, f := range figures {
		total += f
	}
	return total / float64(len(figures))
}
