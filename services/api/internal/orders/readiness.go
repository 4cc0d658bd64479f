package orders

import (
	"context"
	"fmt"
	"time"

	"orderflow.example/services/api/internal/database"
)

// refuseAfter so many failures in a row, orders are refused at once.
const refuseAfter = 3

// NotReady says why orders are not accepted although the database is there: a crash would lose them, or the latest statements, or connections
// for them, failed one after the other, and not by the fault of an order. It is empty while they are.
//
// While there is a reason, orders are refused at once. Where it is that statements failed, the writer finds out whether the cause has gone by
// rehearsing, and by letting one order in after each rehearsal that failed.
func (w *Writer) NotReady() string {
	if reason := w.cfg.Durability.Refusal(); reason != "" {
		return reason
	}
	if reason := w.failing.Load(); reason != nil {
		return *reason
	}
	return ""
}

// noteFailure counts a failure that is no order's fault. After refuseAfter of them in a row orders are refused at once, which the log
// says once for each reason. It ends the connection, because the next one may lead to another server, and has the settings of today.
func (w *Writer) noteFailure(what string, err error) {
	w.disconnect()
	w.monitor.LookNow()
	w.failures++
	if w.failures < refuseAfter {
		w.warn(what, "error", err)
		return
	}
	reason := database.Reason(err)
	if before := w.failing.Swap(&reason); before == nil || *before != reason {
		what = "orders cannot be written; retrying"
		if w.spare {
			what = "the second writer cannot write; retrying, and large requests go by the first one"
		}
		w.cfg.Log.Warn(what, "reason", reason, "error", err)
	}
}

// recovered ends what noteFailure has counted.
func (w *Writer) recovered() {
	w.failures = 0
	if w.failing.Swap(nil) != nil {
		w.cfg.Log.Info(map[bool]string{false: "orders can be written again", true: "the second writer can write again"}[w.spare])
	}
}

// rehearse writes an order and its message and rolls both back, which shows whether orders can be written. It tries the order that was
// written last and, when that is refused, a made-up one: a trigger that we know nothing of may be against either. The error is [ErrUnavailable]
// with the reason.
func (w *Writer) rehearse() error {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return err
		}
	}
	latest := w.latest.Load()
	trials := []*Draft{latest, {CustomerName: "rehearsal", ProductName: "rehearsal", Quantity: 1}}
	if latest == nil {
		trials = trials[1:]
	}
	var first error
	for _, trial := range trials {
		err := w.conn.dryRun(trial)
		w.used = time.Now()
		if unfinished(err) {
			w.monitor.Distrust(w.conn.Conn)
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
	w.admitOne.Store(true)
	return unavailable(first)
}

// dryRun writes an order and its message, has what a commit would check checked, and undoes it. An order that a rule about orders
// refuses has got past everything that this is about.
func (p *publisher) dryRun(order *Draft) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	tx, err := p.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	_, err = p.publish([]*unit{{Request: Request{Orders: []Draft{*order}}}})
	if err == nil {
		_, err = tx.Exec(ctx, "set constraints all immediate")
	}
	if undo := tx.Rollback(ctx); undo != nil && err == nil {
		err = undo
	}
	if err != nil && !breaksRule(err) && !isUnfit(err) {
		return fmt.Errorf("rehearse: %w", err)
	}
	if err := p.awaitStandby(ctx); err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	return nil
}

// awaitStandby commits something, which waits for a standby when commits have to.
func (p *publisher) awaitStandby(ctx context.Context) error {
	_, err := p.Exec(ctx, `
		select case when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'orderflow', 'rehearsal') end`)
	if p.unreplicated.Load() || ctx.Err() != nil {
		return database.ErrUnreplicated
	}
	return err
}

// warn logs at most one line a second: when the disk is full, every batch fails.
func (w *Writer) warn(message string, args ...any) {
	if now := time.Now(); now.Sub(w.warned) >= time.Second {
		w.warned = now
		w.cfg.Log.Warn(message, args...)
	}
}
