package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/fetch"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/settle"
	"orderflow.example/services/consumer/internal/signal"
	"orderflow.example/services/consumer/internal/spans"
)

// workers run the handler on what waits in the buffer.
type workers struct {
	timeout    time.Duration // HANDLER_TIMEOUT
	call       call
	buffer     *fetch.Buffer
	room       signal.Signal // sent when there may be room for more messages
	demand     *fetch.Demand
	held       *lease.Set
	gate       *gating.Gate
	heartbeats *lease.Heartbeats
	settler    *settle.Settler
	spans      spans.Spans
	log        *slog.Logger
	metrics    *metrics.Metrics
}

// run is one worker: it runs handlers, one at a time, until the buffer is closed. ctx is the handlers'.
func (w *workers) run(ctx context.Context) {
	for d := range w.buffer.Waiting() {
		w.room.Send()
		if w.held.Admit(d) {
			w.attempt(ctx, d)
		} else {
			w.buffer.Release(d) // nobody waits for its visibility timeout, and it has not been tried
		}
		w.room.Send()
	}
}

// attempt runs the handler on a delivery, and has the settler end it.
func (w *workers) attempt(ctx context.Context, d *lease.Delivery) {
	if !w.gate.Starts(&d.Ticket) {
		w.buffer.Release(d)
		return
	}
	defer w.gate.Returned(&d.Ticket)
	alone := w.held.Alone(d)
	if alone && !w.makeKnown(ctx, d) {
		w.buffer.Release(d)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	deadline := start.Add(w.timeout)
	limited, stop := context.WithDeadlineCause(ctx, deadline, handler.ErrTimeout)
	defer stop()
	if !w.held.Start(d, start, deadline, alone, cancel) {
		w.gate.Unused(&d.Ticket)
		return // lost while it waited; the heartbeat has said so
	}
	limited, span := w.spans.Handling(limited, d, start)
	if w.log.Enabled(ctx, slog.LevelDebug) {
		message.Log(w.log, slog.LevelDebug, "handler is started", &d.Message, slog.Int("delivery", int(d.Message.ReadCount)))
	}
	ackWork, err := w.call(limited, &d.Message)
	took := time.Since(start)
	spans.Handled(span, err)
	ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.TraceID())
	var first bool
	if err == nil && ackWork != nil {
		w.demand.Occupied(0, took) // the message counts when its work is done, which takes its own time
		first = w.settler.HandledForAck(d, ackWork)
	} else {
		w.demand.Occupied(1, took)
		first = w.settler.Handled(d, ending.Returned{Err: err, Cause: context.Cause(limited), Took: took})
	}
	if !first {
		message.Log(w.log, slog.LevelWarn, "handler returned after its message had been given up; its worker is free again", &d.Message,
			slog.String("after", took.Round(time.Millisecond).String()))
		w.held.Returned() // whoever sees that finds the line
	}
}

// makeKnown writes down that a suspect is about to be worked on alone, so that it is known for the one that did it if the process dies
// now. It says false when this could not be written, or the lease has been lost.
func (w *workers) makeKnown(ctx context.Context, d *lease.Delivery) bool {
	known, err := w.heartbeats.MakeKnown(ctx, d)
	if err != nil {
		message.Log(w.log, slog.LevelInfo, "could not record the start of a suspect message; released, not counted", &d.Message, slog.String("error", err.Error()))
		return false
	}
	if known {
		message.Log(w.log, slog.LevelWarn, "running this suspect message alone: its last deliveries went unanswered", &d.Message,
			slog.Int("unanswered", int(d.Message.Unanswered)), slog.Int("crashes", int(d.Message.Crashes)))
	}
	return known
}

// call calls the handler. A panic is an error: it must not take other messages down with it.
type call func(ctx context.Context, m *message.Message) (ackWork any, err error)

func newCall(h handler.Handler, log *slog.Logger) call {
	leavesAckWork, leaves := h.(effect.Handler)
	return func(ctx context.Context, m *message.Message) (ackWork any, err error) {
		defer func() {
			if p := recover(); p != nil {
				ackWork, err = nil, &handler.PanicError{Value: p}
				message.Log(log, slog.LevelError, "handler panicked", m, slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			}
		}()
		if leaves {
			ackWork, err = leavesAckWork.HandleForAck(ctx, *m)
		} else {
			err = h.Handle(ctx, *m)
		}
		return ackWork, handler.Plain(err)
	}
}
