package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"orderflow.example/kit/ops"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// runWorker is one worker: it runs handlers, one at a time, until the buffer is closed. ctx is the handlers'.
func (c *Consumer) runWorker(ctx context.Context) {
	for d := range c.buffer {
		signal(c.load.room)
		if !c.company.join(d.suspicion()) {
			c.handBack(d) // nobody waits for its visibility timeout, and it has not been tried
			continue
		}
		if c.held.admit(d) {
			c.attempt(ctx, d)
		} else {
			c.gate.unused(d) // lost while it waited; the heartbeat has said so
		}
		signal(c.load.room)
	}
}

// attempt runs the handler on a delivery and decides what becomes of it.
func (c *Consumer) attempt(ctx context.Context, d *delivery) {
	if c.draining.Load() || c.held.expired(d, time.Now()) || !c.gate.starts(d) {
		c.handBack(d)
		return
	}
	defer c.gate.returned(d)
	known, ok := c.makeKnown(ctx, d)
	if !ok {
		c.handBack(d)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	deadline := start.Add(c.settings.HandlerTimeout)
	limited, stop := context.WithDeadlineCause(ctx, deadline, handler.ErrTimeout)
	defer stop()
	if !c.held.start(d, start, deadline, known, cancel) {
		c.gate.unused(d)
		return // lost while it waited; the heartbeat has said so
	}
	c.metrics.InFlight.Inc()
	limited, span := c.spans.handling(limited, d, start)
	if c.log.Enabled(ctx, slog.LevelDebug) {
		c.logAbout(slog.LevelDebug, "handler is started", &d.msg, slog.Int("delivery", int(d.msg.ReadCount)))
	}
	ackWork, err := c.call(limited, &d.msg)
	took := time.Since(start)
	handled(span, err)
	c.metrics.InFlight.Dec()
	ops.Observe(c.metrics.HandlerSeconds, took.Seconds(), d.traceID())
	if ackWork == nil {
		c.load.occupied(1, took)
	}
	what := returned{err: err, cause: context.Cause(limited)}
	if ackWork == nil {
		what = c.reportAttempt(d, what) // else it is not over yet
	}
	end, _ := c.endings.rules.decide(&d.msg, what)
	stage := leaving
	if end.op == opAck {
		stage = acking
	}
	if ackWork != nil {
		c.held.stayInCompany(d)
	}
	if !c.held.decide(d, stage) {
		c.held.returned()
		c.logAbout(slog.LevelWarn, "handler returned after its message had been given up; its worker is free again", &d.msg,
			slog.String("after", took.Round(time.Millisecond).String()))
		return
	}
	logResult(c.log, &d.msg, end, err)
	o := c.endings.ends(d, end)
	o.ackWork = ackWork
	c.settler.put(o)
}

// reportAttempt tells the gate what an attempt says about what the handler calls. What it returns knows whether the attempt counts.
func (c *Consumer) reportAttempt(d *delivery, r returned) returned {
	result, says := r.says()
	if !says {
		c.gate.unused(d)
		return r
	}
	r.uncounted = !c.gate.ended(d, result, r.err)
	if after, asked := handler.AsksForPatience(r.err); asked {
		c.gate.ease(after)
	}
	return r
}

// makeKnown writes down that a suspect is about to be worked on alone, so that it is known for the one that did it if the process dies
// now. Beside a handler that does not come back nothing is alone. It says not ok when this could not be written.
func (c *Consumer) makeKnown(ctx context.Context, d *delivery) (known, ok bool) {
	if !d.suspicion().alone(c.settings.Concurrency) || c.held.stuckSlots() > 0 {
		return false, true
	}
	known, err := c.heartbeats.start(ctx, d)
	if err != nil {
		c.logAbout(slog.LevelInfo, "the start of a suspect could not be made known: it is handed back", &d.msg, slog.String("error", err.Error()))
		return false, false
	}
	if known {
		c.logAbout(slog.LevelWarn, "worked on alone: its consumers have died, or were cut off, several times in a row", &d.msg,
			slog.Int("unanswered", int(d.msg.Unanswered)), slog.Int("crashes", int(d.msg.Crashes)))
	}
	return known, known
}

// call keeps a panic from taking other messages down with it.
func (c *Consumer) call(ctx context.Context, m *message.Message) (ackWork any, err error) {
	defer func() {
		if p := recover(); p != nil {
			ackWork, err = nil, &panicked{p}
			c.logAbout(slog.LevelError, "handler panicked", m, slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	if c.leavesAckWork != nil {
		return c.leavesAckWork.Leave(ctx, *m)
	}
	return nil, c.handler.Handle(ctx, *m)
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
			logAbout(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" processing failed for want of what the handler calls: not counted, will retry later", m,
				slog.String("error", end.problem), slog.String("retry_in", end.delay.Round(time.Millisecond).String()))
			return
		}
		logAbout(log, slog.LevelInfo, "Message "+strconv.FormatInt(m.ID, 10)+" handed back, its handler was interrupted", m,
			slog.Any("error", err))
	}
}

func (c *Consumer) logAbout(level slog.Level, text string, m *message.Message, more ...slog.Attr) {
	logAbout(c.log, level, text, m, more...)
}

func logAbout(log *slog.Logger, level slog.Level, text string, m *message.Message, more ...slog.Attr) {
	ctx := context.Background()
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, text, append(m.Attrs(), more...)...)
	}
}

// receivedEvery is how often a read is worth a line: a trickle of single messages would otherwise be a line each.
const receivedEvery = 100 * time.Millisecond

func (c *Consumer) logReceived(n int) {
	level := slog.LevelInfo
	if time.Since(c.lastReceived) < receivedEvery {
		level = slog.LevelDebug
	}
	if c.log.Enabled(context.Background(), level) {
		c.lastReceived = time.Now()
		c.log.Log(context.Background(), level, "Received "+strconv.Itoa(n)+" messages")
	}
}
