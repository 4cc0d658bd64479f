package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
)

// buffer is where deliveries wait for a worker. What no worker is to have is handed back.
type buffer struct {
	waiting chan *delivery
	held    *held
	gate    *gating
	endings endings
	settler *settler
}

// release hands back what no worker has taken, up to so many messages.
func (b *buffer) release(most int) {
	for range most {
		select {
		case d, open := <-b.waiting:
			if !open {
				return
			}
			b.handBack(d)
		default:
			return
		}
	}
}

// releaseAll hands back all that no worker has taken.
func (b *buffer) releaseAll() { b.release(cap(b.waiting)) }

// handBack gives back what no handler will be given. It keeps its place before what has become due since.
func (b *buffer) handBack(d *delivery) {
	b.gate.unused(d)
	if b.held.decide(d, leaving) {
		b.settler.put(b.endings.outcome(d, unstarted{ago: time.Since(d.due)}))
	}
}

// workers run the handler on what waits in the buffer.
type workers struct {
	concurrency int
	timeout     time.Duration // HANDLER_TIMEOUT
	call        call
	buffer      *buffer
	load        *load
	company     *company
	held        *held
	gate        *gating
	heartbeats  *heartbeats
	endings     endings
	settler     *settler
	draining    func() bool
	spans       spans
	log         *slog.Logger
	metrics     *metrics.Metrics
}

// run is one worker: it runs handlers, one at a time, until the buffer is closed. ctx is the handlers'.
func (w *workers) run(ctx context.Context) {
	for d := range w.buffer.waiting {
		signal(w.load.room)
		if !w.company.join(d.suspicion()) {
			w.buffer.handBack(d) // nobody waits for its visibility timeout, and it has not been tried
			continue
		}
		if w.held.admit(d) {
			w.attempt(ctx, d)
		} else {
			w.gate.unused(d) // lost while it waited; the heartbeat has said so
		}
		signal(w.load.room)
	}
}

// attempt runs the handler on a delivery and decides what becomes of it.
func (w *workers) attempt(ctx context.Context, d *delivery) {
	if w.draining() || w.held.expired(d, time.Now()) || !w.gate.starts(d) {
		w.buffer.handBack(d)
		return
	}
	defer w.gate.returned(d)
	known, ok := w.makeKnown(ctx, d)
	if !ok {
		w.buffer.handBack(d)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	deadline := start.Add(w.timeout)
	limited, stop := context.WithDeadlineCause(ctx, deadline, handler.ErrTimeout)
	defer stop()
	if !w.held.start(d, start, deadline, known, cancel) {
		w.gate.unused(d)
		return // lost while it waited; the heartbeat has said so
	}
	w.metrics.InFlight.Inc()
	limited, span := w.spans.handling(limited, d, start)
	if w.log.Enabled(ctx, slog.LevelDebug) {
		logAbout(w.log, slog.LevelDebug, "handler is started", &d.msg, slog.Int("delivery", int(d.msg.ReadCount)))
	}
	ackWork, err := w.call(limited, &d.msg)
	took := time.Since(start)
	handled(span, err)
	w.metrics.InFlight.Dec()
	ops.Observe(w.metrics.HandlerSeconds, took.Seconds(), d.traceID())
	if ackWork == nil {
		w.load.occupied(1, took)
	}
	what := returned{err: err, cause: context.Cause(limited), took: took}
	if ackWork == nil {
		what = w.gate.attemptEnded(d, what) // else it is not over yet
	}
	end, _ := w.endings.rules.decide(&d.msg, what)
	stage := leaving
	if end.op == opAck {
		stage = acking
	}
	if ackWork != nil {
		w.held.stayInCompany(d)
	}
	if !w.held.decide(d, stage) {
		w.held.returned()
		logAbout(w.log, slog.LevelWarn, "handler returned after its message had been given up; its worker is free again", &d.msg,
			slog.String("after", took.Round(time.Millisecond).String()))
		return
	}
	logResult(w.log, &d.msg, end, err)
	o := w.endings.ends(d, end)
	o.ackWork = ackWork
	w.settler.put(o)
}

// makeKnown writes down that a suspect is about to be worked on alone, so that it is known for the one that did it if the process dies
// now. Beside a handler that does not come back nothing is alone. It says not ok when this could not be written.
func (w *workers) makeKnown(ctx context.Context, d *delivery) (known, ok bool) {
	if !d.suspicion().alone(w.concurrency) || w.held.stuckSlots() > 0 {
		return false, true
	}
	known, err := w.heartbeats.start(ctx, d)
	if err != nil {
		logAbout(w.log, slog.LevelInfo, "could not record the start of a suspect message; released, not counted", &d.msg, slog.String("error", err.Error()))
		return false, false
	}
	if known {
		logAbout(w.log, slog.LevelWarn, "running this suspect message alone: its last deliveries went unanswered", &d.msg,
			slog.Int("unanswered", int(d.msg.Unanswered)), slog.Int("crashes", int(d.msg.Crashes)))
	}
	return known, known
}

// call calls the handler. A panic is an error: it must not take other messages down with it.
type call func(ctx context.Context, m *message.Message) (ackWork any, err error)

func newCall(h handler.Handler, log *slog.Logger) call {
	leavesAckWork, leaves := h.(effect.Handler)
	return func(ctx context.Context, m *message.Message) (ackWork any, err error) {
		defer func() {
			if p := recover(); p != nil {
				ackWork, err = nil, &panicked{p}
				logAbout(log, slog.LevelError, "handler panicked", m, slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			}
		}()
		if leaves {
			return leavesAckWork.Leave(ctx, *m)
		}
		return nil, h.Handle(ctx, *m)
	}
}

type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("handler panicked: %v", p.value) }

// logResult uses the words that users of the example look for.
func logResult(log *slog.Logger, m *message.Message, end ending, err error) {
	switch end.op {
	case opAck:
		logAbout(log, slog.LevelDebug, "Order "+strconv.FormatInt(m.OrderID, 10)+" processed successfully", m)
	case opNack:
		logAbout(log, slog.LevelWarn, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, will retry later", m,
			slog.String("error", end.problem), slog.String("retry_in", end.delay.Round(time.Millisecond).String()))
	case opBury:
		logAbout(log, slog.LevelWarn, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, goes to the dead letters", m,
			slog.String("reason", end.reason), slog.String("error", end.problem))
	case opRelease:
		if end.failure != "" {
			logAbout(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed, dependency unavailable or throttling: not counted, will retry", m,
				slog.String("error", end.problem), slog.String("retry_in", end.delay.Round(time.Millisecond).String()))
			return
		}
		logAbout(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" handed back, its handler was interrupted", m,
			slog.Any("error", err))
	}
}

func logAbout(log *slog.Logger, level slog.Level, text string, m *message.Message, more ...slog.Attr) {
	ctx := context.Background()
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, text, append(m.Attrs(), more...)...)
	}
}
