package orders

import (
	"context"
	"errors"
	"time"

	"orderflow.example/services/api/internal/database"
)

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
