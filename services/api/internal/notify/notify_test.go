package notify_test

import (
	"context"
	"log/slog"
	"os"
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

func TestMain(m *testing.M) { os.Exit(await.Ended(m, func() error { return goleak.Find() })) }

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

// failures are a log of what could not be sent. A notification is lost when two tries have failed, or there is no connection for it.
type failures struct {
	slog.Handler
	tries atomic.Int64
}

func (f *failures) Enabled(context.Context, slog.Level) bool { return true }

func (f *failures) Handle(ctx context.Context, r slog.Record) error {
	if ctx.Err() == nil { // otherwise it is a connection that is not made any more before it is needed
		f.tries.Add(1)
		if r.Message == "notifier cannot connect" {
			f.tries.Add(1)
		}
	}
	return nil
}

func (f *failures) lost() int64 { return f.tries.Load() / 2 }

// notifier is one whose notifications may be lost.
type notifier struct {
	*notify.Notifier
	failures failures
	again    int64 // so many have been asked for again
	stop     func()
}

func start(t *testing.T, url, queue string) *notifier {
	t.Helper()
	return startOn(t, url, queue, &open{never: make(chan struct{})})
}

func startOn(t *testing.T, url, queue string, db *open) *notifier {
	t.Helper()
	n := &notifier{failures: failures{Handler: slog.DiscardHandler}}
	cfg := testdb.Config(t, url, time.Minute)
	n.Notifier = notify.New(cfg, queue, db, slog.New(&n.failures))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	n.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(n.stop)
	return n
}

func listen(t *testing.T, url, channel string) *pgx.Conn {
	t.Helper()
	conn := testdb.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// notifies waits for a notification, and returns which session of the server it has come from. When one was lost, another is asked for.
func (n *notifier) notifies(t *testing.T, conn *pgx.Conn) (from uint32) {
	t.Helper()
	await.True(t, "a notification", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		heard, err := conn.WaitForNotification(ctx)
		switch {
		case err == nil:
			from = heard.PID
		case ctx.Err() == nil:
			t.Fatalf("no notification: %v", err)
		case n.failures.lost() > n.again:
			n.again = n.failures.lost()
			n.Kick()
		}
		return err == nil
	})
	return from
}

func TestNotifiesAtOnceAndThrottled(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_my-queue")
	n := start(t, url, "My-Queue")
	n.Kick()
	n.notifies(t, conn)

	// Many at once are few; the last is never lost.
	for range 1000 {
		n.Kick()
	}
	n.notifies(t, conn)
	n.stop()
	if sent := n.Sent(); sent > 50 {
		t.Errorf("%d notifications for a thousand commits at one moment", sent)
	}
}

func TestEndsWithWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_order_queue")
	var n *notifier
	await.True(t, "none is lost", func() bool {
		n = start(t, url, "order_queue")
		n.Kick()
		n.Kick()
		n.stop()
		return n.failures.lost() == 0
	})
	n.notifies(t, conn)
	if n.Sent() == 0 {
		t.Error("nothing was sent")
	}
}

func TestOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := listen(t, url, "orderflow_order_queue")
	n := start(t, url, "order_queue")
	for range 3 {
		n.Kick()
		n.notifies(t, conn)
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
	n := startOn(t, url, "order_queue", db)
	n.Kick()
	before := n.notifies(t, conn)
	// One that takes too long is sent again, on another connection.
	await.True(t, "two in a row come by one connection", func() bool {
		n.Kick()
		last := before
		before = n.notifies(t, conn)
		return before == last
	})
	db.server.Store(&postgres.Server{Address: "192.0.2.1:5432"})
	await.True(t, "the connection to the server of before is given up", func() bool {
		n.Kick()
		return n.notifies(t, conn) != before
	})
}
