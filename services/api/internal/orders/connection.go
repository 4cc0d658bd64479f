package orders

import (
	"context"
	"errors"
	"slices"
	"time"

	"orderflow.example/services/api/internal/database"
)

// check drops a connection that leads to a server which is not the database's any more, or that has died while it was idle. Found out by the next order, that would leave the order's
// fate in doubt; found out before, it costs a new connection and nothing else.
func (w *Writer) check() {
	if w.conn == nil {
		return
	}
	if state, _ := w.monitor.State(); state.Astray(w.conn.conn) {
		w.cfg.Log.Debug("writer's connection leads to another server than the database's")
		w.disconnect()
		return
	}
	if time.Since(w.used) < idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Timeout/4)
	defer cancel()
	if err := w.conn.ping(ctx); err != nil {
		w.cfg.Log.Debug("writer's connection was lost while idle", "error", err)
		w.disconnect()
	}
	w.used = time.Now()
}

// idle is how long a connection is trusted without having been used.
const idle = 500 * time.Millisecond

// connect takes as long as the configuration lets it: a network where a round trip takes long, or a first host that is silent,
// costs time and not the service. Who is waiting meanwhile withdraws when its time is up.
func (w *Writer) connect() error {
	conn, err := connectPublisher(w.cfg.Database, w.cfg.Queue, w.cfg.Timeout)
	if err == nil {
		if err = w.look(conn); err != nil {
			conn.close()
		}
	}
	if err != nil {
		w.cfg.Observer.Failed(database.Classify(err))
		w.noteFailure("writer cannot connect", err)
		return err
	}
	w.conn, w.used = conn, time.Now()
	return nil
}

// look asks what a crash would lose of what is written on a new connection.
func (w *Writer) look(conn *publisher) error {
	if w.cfg.Durability == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Database.ConnectTimeout)
	defer cancel()
	return w.cfg.Durability.Session(ctx, conn.conn)
}

// reconnect connects, when there is no connection, in the middle of writing units, and returns those that still wait to be
// written. Until then they can be withdrawn as if they had not been taken, except for those that are in doubt already.
func (w *Writer) reconnect(units []*unit) []*unit {
	if w.conn != nil || len(units) == 0 {
		return units
	}
	if !w.monitor.Up() {
		answerAll(units, ErrUnavailable)
		return nil
	}
	for _, u := range units {
		u.putBack()
	}
	err := w.connect()
	units = slices.DeleteFunc(units, func(u *unit) bool { return !u.retake() })
	if err != nil {
		answerAll(units, ErrUnavailable)
		return nil
	}
	return units
}

func (w *Writer) disconnect() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// watchForStandby asks what the writer's session waits for when its statement has taken half of its time: when the time is over the server is told to
// cancel, and nobody knows any more. What is returned ends the watching, and reports whether it was a standby.
func (w *Writer) watchForStandby() (waited func() bool) {
	if w.cfg.Replicating == nil {
		return func() bool { return false }
	}
	done, pid := make(chan struct{}), w.conn.conn.PgConn().PID()
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.Timeout)
	timer := time.AfterFunc(w.cfg.Timeout/2, func() {
		defer close(done)
		w.replicating.Store(w.cfg.Replicating(ctx, pid))
	})
	return func() bool {
		cancel()
		if timer.Stop() {
			return false
		}
		<-done
		return w.replicating.Load()
	}
}

// unfinished tells whether a server was asked to do something and did not say what became of it, although it was there.
func unfinished(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, database.ErrUnreplicated)
}
