package housekeeping

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
)

// A deletion that was not committed has deleted nothing, whatever it was about to.
func TestWhatIsRolledBackIsNotCounted(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	proxy := testdb.Proxy(t, url)
	pool, err := database.NewPool(t.Context(), testdb.Config(t, proxy.URL, time.Minute), 1, database.Timeouts(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := testdb.Connect(t, url).Exec(t.Context(), `
		insert into public.orders (customer_name, product_name, quantity, price, status, completed_at)
		select 'c', 'p', 1, 1, 'completed', now() - interval '1 day' from generate_series(1, 3)`); err != nil {
		t.Fatal(err)
	}
	k := New(pool, Options{Queue: "order_queue", OrderRetention: time.Hour, Log: slog.New(slog.DiscardHandler)})
	deletion := &task{pace: pace{size: 100}, step: k.expireOrders}
	proxy.Trap("commit", pgproxy.Unsent)
	if _, err := k.step(t.Context(), deletion); err == nil {
		t.Fatal("the connection was not cut")
	}
	if n := k.State().OrdersDeleted; n != 0 {
		t.Errorf("%d orders are said to be deleted, and are there", n)
	}
	await.True(t, "the server lets go of the rows of the connection that was cut", func() bool {
		if _, err := k.step(t.Context(), deletion); err != nil {
			t.Error(err)
			return true
		}
		return k.State().OrdersDeleted >= 3
	})
	if n := k.State().OrdersDeleted; n != 3 {
		t.Errorf("%d orders are said to be deleted, and 3 are", n)
	}
}

// A step that fails is counted: an alert is made of it.
func TestAStepThatFailsIsCounted(t *testing.T) {
	t.Parallel()
	pool, err := database.NewPool(t.Context(), testdb.Config(t, testdb.Server(t), time.Minute), 1, database.Timeouts(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	k := New(pool, Options{Queue: "order_queue", Up: func() bool { return true }, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	await.True(t, "a failure to be counted", func() bool { return k.State().Failures > 0 })
	stop()
	<-done
}
