package notify_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open is a database that is there; where it is said to be, if anywhere, is its server.
type open struct {
	never  chan struct{}
	server atomic.Pointer[postgres.Server]
}

func (o *open) State() (database.State, <-chan struct{}) {
	state := database.State{Up: true}
	if server := o.server.Load(); server != nil {
		state.Server = *server
	}
	return state, o.never
}

func start(t *testing.T, url, queue string) (n *notify.Notifier, stop func()) {
	t.Helper()
	return startOn(t, url, queue, &open{never: make(chan struct{})})
}

func startOn(t *testing.T, url, queue string, db *open) (n *notify.Notifier, stop func()) {
	t.Helper()
	cfg := testdb.Config(t, url, time.Minute)
	n = notify.New(cfg, queue, db, slog.New(slog.DiscardHandler))
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

// notified returns which session of the server the notification has come from.
func notified(t *testing.T, conn *pgx.Conn) (from uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit())
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	if err != nil {
		t.Fatalf("no notification: %v", err)
	}
	return n.PID
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

// Who listens does so where the orders are: a connection to the server of before is given up, although it works.
func TestNotifiesWhereTheOrdersAre(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_order_queue")
	db := &open{never: make(chan struct{})}
	n, _ := startOn(t, url, "order_queue", db)
	n.Kick()
	before := notified(t, conn)
	n.Kick()
	if again := notified(t, conn); again != before {
		t.Errorf("%d, then %d: each notification has a connection of its own", before, again)
	}
	db.server.Store(&postgres.Server{Address: "192.0.2.1:5432"})
	n.Kick()
	if notified(t, conn) == before {
		t.Error("it went by the connection to the server of before")
	}
}
