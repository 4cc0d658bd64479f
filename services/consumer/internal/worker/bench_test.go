package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/worker"
)

// BenchmarkConsumer measures the whole pipeline on a backlog, effect included, with a handler that does nothing: how far
// BATCH_SIZE takes it. The rates are this machine's; their ratios are what BATCH_SIZE is chosen by.
func BenchmarkConsumer(b *testing.B) {
	const backlog = 20_000
	log := slog.New(slog.DiscardHandler)
	for _, batch := range []int{30, 100, 500, 1000} {
		b.Run(fmt.Sprintf("BATCH_SIZE=%d", batch), func(b *testing.B) {
			messages := 0
			for b.Loop() {
				b.StopTimer()
				db := dbtest.New(b)
				db.Publish(backlog)
				db.Exec(`vacuum analyze public.orders, pgmq.q_order_queue`)
				server := pg.NewServer(db.Address(), "benchmark", log, pg.Observer{})
				m := metrics.New("benchmark", dbtest.QueueName, "none")
				c := worker.New(worker.Settings{
					ID: "benchmark", Queue: dbtest.QueueName, Batch: batch, Concurrency: 30, MaxAttempts: 5, HeldBytes: 32 << 20, MessageBytes: 1 << 20,
					Visible: 10 * time.Second, HandlerTimeout: 8 * time.Second, Drain: time.Second, Poll: time.Second,
					Backoff: backoff.Policy{Base: time.Second, Max: time.Minute, Multiplier: 2},
				}, server, noop, log, m)
				ctx, stop := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				b.StartTimer()
				go func() { ended <- c.Run(ctx) }()
				dbtest.Within(b, time.Minute, "the backlog is done", func() bool { return sum(b, m.Registry, "orderflow_consumer_messages_processed_total") == backlog })
				b.StopTimer()
				messages += backlog
				stop()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}
