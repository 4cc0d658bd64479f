package orders_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/testdb"
)

func TestMain(m *testing.M) { os.Exit(testdb.Run(m)) }

type observer struct{}

func (observer) Committed(int, int, int, time.Duration) {}
func (observer) Failed(database.Kind)                   {}

// open is a gate that always is.
type open struct{ never chan struct{} }

func (open) Up() bool { return true }
func (open) Suspect() {}
func (o open) State() (database.State, <-chan struct{}) {
	return database.State{Up: true}, o.never
}

func startWriter(tb testing.TB, url string, change func(*orders.WriterConfig)) *orders.Writer {
	tb.Helper()
	db, err := pgx.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := orders.WriterConfig{
		Database: db, Queue: testdb.Queue, MaxBatch: 256, MaxQueue: 4096, Timeout: 5 * time.Second,
		OnCommit: func() {}, Observer: observer{}, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	w := orders.NewWriter(cfg, open{make(chan struct{})})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	tb.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

func order(i int) orders.New {
	return orders.New{
		CustomerName: fmt.Sprintf("Customer %d", i), ProductName: fmt.Sprintf("Product %d", i), Quantity: int32(i%10 + 1), Price: orders.Cents(1000 + i%50*100),
	}
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func BenchmarkPublish(b *testing.B) {
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			w := startWriter(b, testdb.New(b), nil)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for i := c; i < b.N; i += clients {
						req := orders.Request{Orders: []orders.New{order(i)}, Key: fmt.Sprintf("key-%d", i), Traceparent: traceparent}
						if _, err := w.Write(req); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}
