package handler

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// Simulate is the example's handler: an order takes Work; when Fail is set, a message whose msg_id is divisible by 2 fails its
// first attempt, and one whose msg_id is divisible by 6 its second as well.
type Simulate struct {
	Work time.Duration
	Fail bool
	Log  *slog.Logger
}

var errSimulated = errors.New("simulated failure")

// Handle waits, then fails or not.
func (s *Simulate) Handle(ctx context.Context, m message.Message) error {
	if s.Work > 0 {
		work := time.NewTimer(s.Work)
		defer work.Stop()
		select {
		case <-work.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.Fail {
		switch {
		case m.Attempt == 1 && m.ID%2 == 0:
			s.say(ctx, m, "first")
			return errSimulated
		case m.Attempt == 2 && m.ID%6 == 0:
			s.say(ctx, m, "second")
			return errSimulated
		}
	}
	return nil
}

// say uses the words that users of the example look for.
func (s *Simulate) say(ctx context.Context, m message.Message, try string) {
	s.Log.LogAttrs(ctx, slog.LevelInfo, "Order "+strconv.FormatInt(m.OrderID, 10)+" processed fail at "+try+" try", m.Attrs()...)
}
