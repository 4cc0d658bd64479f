package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// Simulate is the example's handler: an order takes Work; when Fail is set, a message whose msg_id is divisible by 2 fails its
// first attempt, and one whose msg_id is divisible by 6 its second as well. Crash names a customer whose orders end the process:
// "exit:NAME" at once, "memory:NAME" by taking memory until somebody kills it.
type Simulate struct {
	Work  time.Duration
	Fail  bool
	Crash string
	Log   *slog.Logger
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
	if s.Crash != "" {
		if err := s.crash(ctx, m); err != nil {
			return err
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

// crash ends the process for the orders of one customer, as a handler with a bug of that kind does.
func (s *Simulate) crash(ctx context.Context, m message.Message) error {
	how, customer, _ := strings.Cut(s.Crash, ":")
	var order struct {
		Customer string `json:"customer_name"`
	}
	if err := json.Unmarshal(m.Body, &order); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if order.Customer != customer {
		return nil
	}
	s.Log.LogAttrs(ctx, slog.LevelError, "simulated crash: "+how, m.Attrs()...)
	if how == "exit" {
		os.Exit(1)
	}
	// Linux counts what is reserved as within the limit when it is mapped, so a block is small: a large one goes beyond any limit, and
	// filling it may take longer than the handler may.
	const blockMiB = 16
	var hoard [][]byte
	for ctx.Err() == nil { // without a limit for its memory, the handler's timeout spares the machine the rest
		block := make([]byte, blockMiB<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1 // a page that is not written to takes no memory
		}
		hoard = append(hoard, block)
	}
	runtime.KeepAlive(hoard)
	return fmt.Errorf("simulated crash: nobody minded %d MiB: %w", len(hoard)*blockMiB, context.Cause(ctx))
}

// say uses the words that users of the example look for.
func (s *Simulate) say(ctx context.Context, m message.Message, try string) {
	s.Log.LogAttrs(ctx, slog.LevelInfo, "Order "+strconv.FormatInt(m.OrderID, 10)+" processed fail at "+try+" try", m.Attrs()...)
}
