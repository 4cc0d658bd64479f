package handler_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestSimulateFailsAsTheExampleDoes(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h := handler.Simulate{Fail: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
	for id, failures := range map[int64]int{1: 0, 2: 1, 3: 0, 4: 1, 6: 2, 9: 0, 12: 2} {
		for attempt := 1; attempt <= 4; attempt++ {
			err := h.Handle(t.Context(), message.Message{ID: id, OrderID: 100 + id, Attempt: attempt})
			if (err != nil) != (attempt <= failures) {
				t.Errorf("message %d, attempt %d: %v", id, attempt, err)
			}
		}
	}
	for _, line := range []string{"Order 102 processed fail at first try", "Order 106 processed fail at second try"} {
		if strings.Count(log.String(), line) != 1 {
			t.Errorf("not once in the log: %s", line)
		}
	}
}

func TestSimulateCanBeToldNotToFailAndHeedsItsContext(t *testing.T) {
	t.Parallel()
	h := handler.Simulate{Log: slog.New(slog.DiscardHandler)}
	if err := h.Handle(t.Context(), message.Message{ID: 6, Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	h.Work = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(handler.ErrDraining)
	if err := h.Handle(ctx, message.Message{ID: 1, Attempt: 1}); !errors.Is(err, handler.ErrDraining) {
		t.Fatalf("%v", err)
	}
}

func TestOnlyTheOrdersOfOneCustomerCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(handler.ErrTimeout) // so that it takes no memory
	h := handler.Simulate{Crash: "memory:Ada", Log: slog.New(slog.DiscardHandler)}
	for body, crashes := range map[string]bool{
		`{"customer_name": "Ada"}`: true, `{"customer_name": "Bob"}`: false, `{"customer_name": 7}`: false, `{}`: false, `nonsense`: false,
	} {
		if err := h.Handle(ctx, message.Message{ID: 1, Attempt: 1, Body: []byte(body)}); errors.Is(err, handler.ErrTimeout) != crashes {
			t.Errorf("%s: %v", body, err)
		}
	}
}
