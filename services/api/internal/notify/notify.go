// Package notify wakes the consumers up after commits. It owns a connection of its own: a NOTIFY inside the order's
// transaction would make every commit take one lock, and a request must never wait for a wake-up.
//
// A notification can be lost (with its connection, or with the server); consumers look for themselves every now and then.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/wait"
	"orderflow.example/services/api/internal/database"
)

// Interval is the least time between two notifications. Consumers that are at work need none, and those that are idle get
// the first one at once. Each makes idle consumers read and settle a batch, so at rates at which every order would have one
// of its own (200/s are one in 5 ms), what Interval adds to the wait of some saves transactions for all.
const Interval = 8 * time.Millisecond

// timeout is how long notifying may take.
const timeout = 2 * time.Second

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	State() (database.State, <-chan struct{})
}

// Notifier sends notifications on one queue's channel.
type Notifier struct {
	cfg     *pgx.ConnConfig
	channel string
	monitor Monitor
	log     *slog.Logger
	kick    chan struct{}
	sent    atomic.Int64
	conn    *pgx.Conn // of Run's goroutine
}

// New makes a notifier for a queue; nothing is sent until [Notifier.Run].
func New(cfg *pgx.ConnConfig, queue string, monitor Monitor, log *slog.Logger) *Notifier {
	return &Notifier{cfg: cfg, channel: Channel(queue), monitor: monitor, log: log, kick: make(chan struct{}, 1)}
}

// Channel is the name of the channel that a queue's consumers listen on.
func Channel(queue string) string { return "orderflow_" + strings.ToLower(queue) }

// Kick asks for a notification and returns at once. One that was asked for while another is on its way is sent after it: the
// last commit is always followed by a notification.
func (n *Notifier) Kick() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Sent is the number of notifications sent.
func (n *Notifier) Sent() int64 { return n.sent.Load() }

// Run sends until ctx ends, and then once more if that was asked for.
func (n *Notifier) Run(ctx context.Context) {
	defer n.disconnect()
	for {
		state, changed := n.monitor.State()
		if state.Up && n.conn == nil {
			n.connect(ctx) // before it is needed
		}
		select {
		case <-ctx.Done():
			select {
			case <-n.kick:
				n.send(ctx)
			default:
			}
			return
		case <-changed:
			continue
		case <-n.kick:
		}
		n.send(ctx)
		wait.For(ctx, Interval)
	}
}

func (n *Notifier) connect(ctx context.Context) {
	// A notification that a crash of the server loses does no harm, so its transaction need not wait for the disk.
	session := database.Timeouts(timeout).With(database.Session{"synchronous_commit": "off"})
	conn, err := database.Connect(ctx, n.cfg, session)
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		_, err = conn.Prepare(limited, "notify", `select pg_notify($1, '')`)
		if err != nil {
			database.Discard(conn)
			err = fmt.Errorf("prepare to notify: %w", err)
		}
	}
	if err != nil {
		n.log.DebugContext(ctx, "notifier cannot connect", "error", err)
		return
	}
	n.conn = conn
}

// send tries a second connection when the first one fails, which may have been closed while it was idle. It does not stop with ctx: a
// notification that was asked for is sent.
func (n *Notifier) send(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if state, _ := n.monitor.State(); state.LeadsElsewhere(n.conn) {
		n.disconnect() // who listens does so where the orders are
	}
	for range 2 {
		if n.conn == nil {
			n.connect(ctx)
		}
		if n.conn == nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, timeout)
		_, err := n.conn.Exec(limited, "notify", n.channel)
		cancel()
		if err == nil {
			n.sent.Add(1)
			return
		}
		n.log.DebugContext(ctx, "notification not sent", "error", err)
		n.disconnect()
	}
}

func (n *Notifier) disconnect() {
	if n.conn != nil {
		database.Discard(n.conn)
		n.conn = nil
	}
}
