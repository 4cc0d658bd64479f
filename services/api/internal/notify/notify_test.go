package notify_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type open struct{ never chan struct{} }

func (o open) State() (database.State, <-chan struct{}) { return database.State{Up: true}, o.never }

func start(t *testing.T, url, queue string) (n *notify.Notifier, stop func()) {
	t.Helper()
	cfg := testdb.Config(t, url, time.Minute)
	n = notify.New(cfg, queue, open{make(chan struct{})}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return n, stop
}

func listen(t *testing.T, url, channel string) *pgx.Conn {
	t.Helper()
	conn := testdb.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	return conn
}

func notified(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit())
	defer cancel()
	if _, err := conn.WaitForNotification(ctx); err != nil {
		t.Fatalf("no notification: %v", err)
	}
}

func TestNotifiesAtOnceAndThrottled(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_my-queue")
	n, stop := start(t, url, "My-Queue")
	n.Kick()
	notified(t, conn)

	// Many at once are few; the last is never lost.
	for range 1000 {
		n.Kick()
	}
	notified(t, conn)
	stop()
	if sent := n.Sent(); sent > 50 {
		t.Errorf("%d notifications for a thousand commits at one moment", sent)
	}
}

func TestEndsWithWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_order_queue")
	n, stop := start(t, url, "order_queue")
	n.Kick()
	n.Kick()
	stop()
	notified(t, conn)
	if n.Sent() == 0 {
		t.Error("nothing was sent")
	}
}

func TestOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_order_queue")
	n, _ := start(t, url, "order_queue")
	for range 3 {
		n.Kick()
		notified(t, conn)
		if _, err := conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
	}
}
