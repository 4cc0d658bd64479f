package settle

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/queue"
)

// outcome is a delivery with how it is to end.
type outcome struct {
	delivery *lease.Delivery
	ending.Ending
	at time.Time // of the end: of its handler, where one was started

	unsure     bool      // an earlier try may have taken effect
	doubtful   bool      // the read that gave us the lease may not have been committed
	suppressed bool      // the last try was suppressed by the database
	after      time.Time // not to be tried before
	tries      int
	silence    time.Duration // for so long it had no answer, in a statement of its own

	ackWork      any  // what a handler has left, if any
	losses       int  // times that the connection was lost in the middle of its ack work, and of no other order's
	conflicts    int  // times that its ack work, and no other order's, ran into another transaction
	overran      bool // its ack work alone took too long
	mostTogether int  // outcomes in one statement with it, because one with more failed; 0: as many as there are
}

func newOutcome(d *lease.Delivery, end ending.Ending) outcome {
	return outcome{delivery: d, Ending: end, at: time.Now()}
}

func (o *outcome) lease() queue.Lease { return queue.LeaseOf(&o.delivery.Message) }

// history is the row of the order's history about the delivery: became says what became of it. Of a lease that was lost, late.sql finds out
// whether it was an attempt that counts.
func (o *outcome) history(became string) *queue.HistoryRow {
	counted := !o.Untried && o.Op != ending.Release
	return queue.NewHistoryRow(&o.delivery.Message, became, counted, o.delivery.Stamp(o.at))
}

func (o *outcome) entry() queue.Entry {
	e := queue.EntryOf(&o.delivery.Message, !o.Untried)
	e.Delay, e.Reason, e.Error, e.Unsure = o.Delay, o.Reason, o.Problem, o.unsure
	if o.InPlace {
		e.Due = o.delivery.Message.Due
	}
	if o.Op == ending.Release && o.Failure != "" {
		e.Unanswered = 0 // its handler has come back
	}
	e.Started = o.delivery.Started()
	if o.Op != ending.Ack {
		e.History = o.history(o.HistoryOutcome())
	}
	if o.doubtful {
		e.Until = o.delivery.Message.Until
	}
	return e
}

// logCompleted says that an order is completed. Like logFailure it uses the words that users of the example look for.
func logCompleted(log *slog.Logger, m *message.Message) {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		message.Log(log, slog.LevelDebug, "Order "+strconv.FormatInt(m.OrderID, 10)+" processed successfully", m)
	}
}

// logFailure says that an attempt has not succeeded, and what follows from that. err is what the handler has returned.
func logFailure(log *slog.Logger, m *message.Message, end ending.Ending, err error) {
	switch end.Op {
	case ending.Nack:
		message.Log(log, slog.LevelWarn, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, will retry later", m,
			slog.String("error", end.Problem), slog.String("retry_in", end.Delay.Round(time.Millisecond).String()))
	case ending.Bury:
		message.Log(log, slog.LevelWarn, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, goes to the dead letters", m,
			slog.String("reason", end.Reason), slog.String("error", end.Problem))
	default:
		if end.Failure != "" {
			message.Log(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, dependency unavailable or throttling: not counted, will retry", m,
				slog.String("error", end.Problem), slog.String("retry_in", end.Delay.Round(time.Millisecond).String()))
			return
		}
		message.Log(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" handed back, its handler was interrupted", m,
			slog.Any("error", err))
	}
}
