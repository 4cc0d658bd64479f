package orders

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/api/internal/database"
)

// idle is how long a connection is trusted without having been used.
const idle = 500 * time.Millisecond

// ensureConnection makes a connection to write on when there is none, and returns why there is none now, if so. When orders wait, it first drops
// a connection that leads to a server which is not the database's any more, or that has died while it was idle. Found out by the next order,
// that would leave the order's fate in doubt; found out before, it costs a new connection and nothing else.
func (w *Writer) ensureConnection(state database.State) error {
	switch {
	case w.conn == nil, w.load() == 0:
	case state.LeadsElsewhere(w.conn.Conn):
		w.cfg.Log.Debug("writer's connection leads to another server than the database's")
		w.disconnect()
	case time.Since(w.used) >= idle:
		ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Timeout/4)
		defer cancel()
		if err := w.conn.Ping(ctx); err != nil {
			w.cfg.Log.Debug("writer's connection was lost while idle", "error", err)
			w.disconnect()
		}
		w.used = time.Now()
	}
	switch {
	case w.conn != nil:
		return nil
	case !state.Up:
		return because(ErrUnavailable, state.Reason)
	}
	return w.connect()
}

// reconnect connects, when there is no connection, in the middle of writing units, and returns those that still wait to be
// written. Until then they can be withdrawn as if they had not been taken, except for those that are in doubt already.
func (w *Writer) reconnect(units []*unit) []*unit {
	if w.conn != nil || len(units) == 0 {
		return units
	}
	if state, _ := w.monitor.State(); !state.Up {
		answerAll(units, because(ErrUnavailable, state.Reason))
		return nil
	}
	for _, u := range units {
		u.putBack()
	}
	err := w.connect()
	units = slices.DeleteFunc(units, func(u *unit) bool { return !u.retake() })
	if err != nil {
		answerAll(units, err)
		return nil
	}
	return units
}

// connect makes a connection, or returns [ErrUnavailable] with the reason. It takes as long as the configuration lets it: a network where a round trip takes long, or a first host that is silent,
// costs time and not the service. Who is waiting meanwhile withdraws when its time is up.
func (w *Writer) connect() error {
	conn, err := newPublisher(w.cfg.Database, w.cfg.Queue, w.cfg.Timeout)
	if err == nil {
		// What would a crash lose of what is written on this connection?
		ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Database.ConnectTimeout)
		defer cancel()
		if err = w.cfg.Durability.Session(ctx, conn); err != nil {
			database.Discard(conn.Conn)
		}
	}
	if err != nil {
		w.cfg.Observer.Failed(database.Classify(err))
		w.noteFailure("writer cannot connect", err)
		return unavailable(err)
	}
	w.conn, w.used = conn, time.Now()
	w.connected.Store(true)
	return nil
}

func (w *Writer) disconnect() {
	if w.conn != nil {
		w.connected.Store(false)
		database.Discard(w.conn.Conn)
		w.conn = nil
	}
}

// The plan of the statement is made once and kept (everything in it is by parameter), possibly while the tables are empty
// or their statistics old. These settings leave it no choice that grows with the tables.
var publishSession = database.Session{
	"plan_cache_mode":   "force_generic_plan",
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"jit":               "off",
}

// newPublisher connects and gets ready to write: the next statement may be one that counts.
func newPublisher(cfg *pgx.ConnConfig, queue string, timeout time.Duration) (*publisher, error) {
	unreplicated := new(atomic.Bool)
	cfg = cfg.Copy()
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if database.Unreplicated(n) {
			unreplicated.Store(true)
		}
	}
	// The server gives up before the client does: then it is certain that nothing was written.
	conn, err := database.Connect(context.Background(), cfg, database.Timeouts(timeout*4/5).With(publishSession))
	if err != nil {
		return nil, err
	}
	p := &publisher{Conn: conn, timeout: timeout, unreplicated: unreplicated}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.ConnectTimeout)
	defer cancel()
	if _, err = conn.Prepare(ctx, "publish", publishSQL(queue)); err != nil {
		err = fmt.Errorf("prepare to publish: %w", err)
	}
	if err == nil {
		err = waitForDisk(ctx, conn)
	}
	if err == nil {
		// Nothing, written, takes most of what orders take: a server that is no standby, the table, the right to insert into it.
		_, err = p.publish(nil)
	}
	if err != nil {
		database.Discard(conn)
		return nil, err
	}
	return p, nil
}

// waitForDisk makes a commit wait for the disk, also where somebody has decided otherwise for the database, the role or the address,
// because an order that was answered must outlive a crash. What promises more than that stays.
func waitForDisk(ctx context.Context, conn *pgx.Conn) error {
	const name = "synchronous_commit"
	wanted, err := postgres.Setting(ctx, conn, name)
	if err != nil {
		return err
	}
	if wanted == "off" || wanted == "local" {
		wanted = "on"
	}
	return postgres.Set(ctx, conn.PgConn(), postgres.Settings{name: wanted})
}
