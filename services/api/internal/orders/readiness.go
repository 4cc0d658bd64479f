package orders

import (
	"time"

	"orderflow.example/services/api/internal/database"
)

// Failures in a row after which orders are refused at once, and the pauses between the attempts that the writer goes on making.
const (
	blockedAfter = 3
	firstPause   = 20 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// NotReady says why orders cannot be written although the database is there: the latest statements, or connections for them, failed
// one after the other, and not by the fault of an order. It is empty while they can be.
//
// While there is a reason, orders are refused at once. The writer finds out whether the cause has gone by rehearsing, and by letting one
// order in after each rehearsal that failed.
func (w *Writer) NotReady() string {
	if reason := w.refusal(); reason != "" {
		return reason
	}
	return w.blocked()
}

// refusal is why orders must not be accepted, although they could be written.
func (w *Writer) refusal() string {
	if w.cfg.Durability == nil {
		return ""
	}
	return w.cfg.Durability.Refusal()
}

func (w *Writer) blocked() string {
	if reason := w.notReady.Load(); reason != nil {
		return *reason
	}
	return ""
}

// noteFailure counts a failure that is no order's fault. After blockedAfter of them in a row orders are refused at once, which the log
// says once. It ends the connection, because the next one may lead to another server, and has the settings of today.
func (w *Writer) noteFailure(what string, err error) {
	w.disconnect()
	w.monitor.LookNow()
	w.failures++
	if w.failures < blockedAfter {
		w.warn(what, "error", err)
		return
	}
	reason := database.Reason(err)
	if before := w.notReady.Swap(&reason); before == nil || *before != reason {
		w.cfg.Log.Warn("orders cannot be written; retrying", "reason", reason, "error", err)
	}
}

// recovered ends what noteFailure has counted.
func (w *Writer) recovered() {
	w.failures = 0
	w.admit.Store(false)
	if w.notReady.Swap(nil) != nil {
		w.cfg.Log.Info("orders can be written again")
	}
}

// rehearse writes an order and its message and rolls both back, which shows whether orders can be written. It tries the order that was
// written last and, when that is refused, a made-up one: a trigger that we know nothing of may be against either.
func (w *Writer) rehearse() error {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return err
		}
	}
	trials := []*Draft{w.latest, {CustomerName: "rehearsal", ProductName: "rehearsal", Quantity: 1}}
	if w.latest == nil {
		trials = trials[1:]
	}
	var first error
	for _, trial := range trials {
		err := w.conn.rehearse(trial, w.cfg.Timeout)
		w.used = time.Now()
		if unfinished(err) {
			w.monitor.Distrust(w.conn.conn)
		}
		if err == nil {
			w.recovered()
			return nil
		}
		if first == nil {
			first = err
		}
		if judge(err, maxDraws, 1) != examine {
			break // it is not about the order
		}
	}
	w.cfg.Observer.Failed(database.Classify(first))
	w.noteFailure("orders cannot be written", first)
	w.admit.Store(true)
	return first
}

// warn logs at most one line a second: when the disk is full, every batch fails.
func (w *Writer) warn(message string, args ...any) {
	if now := time.Now(); now.Sub(w.warned) >= time.Second {
		w.warned = now
		w.cfg.Log.Warn(message, args...)
	}
}
