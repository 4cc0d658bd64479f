package handler_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/handler"
)

func TestNoErrorDoesNotBecomeOne(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"Permanent": handler.Permanent(nil), "Unavailable": handler.Unavailable(nil), "Throttled": handler.Throttled(time.Second, nil),
		"RetryAfter": handler.RetryAfter(time.Second, nil), "NotBefore": handler.NotBefore(time.Second, nil), "Plain": handler.Plain(nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, asked := handler.AsksForPatience(nil); after != 0 || asked || handler.IsUnavailable(nil) || handler.IsPermanent(nil) {
		t.Error("nothing was marked")
	}
}

// What one function says of an error, no other takes back, and wrapping does not hide it.
func TestErrorsSayWhatTheirFailureMeansThroughWrapping(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	const backoff = time.Second
	for name, test := range map[string]struct {
		err                    error
		permanent, unavailable bool
		asked                  bool
		patience, delay        time.Duration
	}{
		"plain":                  {err: cause, delay: backoff},
		"permanent":              {err: handler.Permanent(cause), permanent: true, delay: backoff},
		"unavailable":            {err: handler.Unavailable(cause), unavailable: true, delay: backoff},
		"throttled":              {err: handler.Throttled(time.Minute, cause), unavailable: true, asked: true, patience: time.Minute, delay: time.Minute + backoff},
		"throttled, not how":     {err: handler.Throttled(0, cause), unavailable: true, asked: true, delay: backoff},
		"throttled, in the past": {err: handler.Throttled(-time.Minute, cause), unavailable: true, asked: true, delay: backoff},
		"a time":                 {err: handler.RetryAfter(time.Minute, cause), delay: time.Minute},
		"a time in the past":     {err: handler.RetryAfter(-time.Minute, cause)},
		"a least time":           {err: handler.NotBefore(time.Minute, cause), delay: time.Minute + backoff},
		"down, with a time":      {err: handler.Unavailable(handler.NotBefore(time.Minute, cause)), unavailable: true, delay: time.Minute + backoff},
		"a time, down":           {err: handler.RetryAfter(time.Minute, handler.Unavailable(cause)), unavailable: true, delay: time.Minute},
		"a time, throttled":      {err: handler.RetryAfter(time.Hour, handler.Throttled(time.Minute, cause)), unavailable: true, asked: true, patience: time.Minute, delay: time.Hour},
		"down for good":          {err: handler.Permanent(handler.Throttled(0, handler.Unavailable(cause))), permanent: true, delay: backoff},
		"the deadline":           {err: errors.Join(handler.ErrTimeout, cause), unavailable: true, delay: backoff},
		"the lease":              {err: errors.Join(handler.ErrLeaseLost, cause), delay: backoff},
	} {
		for wrapped, err := range map[string]error{
			"": test.err, ", wrapped": fmt.Errorf("wrapped: %w", test.err), ", joined": errors.Join(errors.New("context"), test.err),
			", plain": handler.Plain(test.err), ", wrapped and plain": handler.Plain(fmt.Errorf("wrapped: %w", test.err)),
		} {
			after, asked := handler.AsksForPatience(err)
			if handler.IsPermanent(err) != test.permanent || handler.IsUnavailable(err) != test.unavailable || asked != test.asked || after != test.patience {
				t.Errorf("%s%s: permanent %t, unavailable %t, patience %t %s", name, wrapped, handler.IsPermanent(err), handler.IsUnavailable(err), asked, after)
			}
			if delay := handler.Delay(err, backoff); delay != test.delay || !strings.Contains(err.Error(), cause.Error()) {
				t.Errorf("%s%s: %s instead of %s", name, wrapped, delay, test.delay)
			}
			if plain := strings.Contains(wrapped, "plain"); errors.Is(err, cause) == plain || errors.Is(err, handler.ErrTimeout) != (name == "the deadline") {
				t.Errorf("%s%s: it is not what it was", name, wrapped)
			}
		}
	}
}

// The longest delay there is plus a backoff is no time in the past, by which the order would come back at once and before all others.
func TestNoDelayIsTooLongToAddABackoffTo(t *testing.T) {
	t.Parallel()
	const forever, backoff = time.Duration(math.MaxInt64), time.Hour
	for name, err := range map[string]error{
		"throttled": handler.Throttled(forever, errors.New("x")), "not before": handler.NotBefore(forever, errors.New("x")), "retry after": handler.RetryAfter(forever, errors.New("x")),
	} {
		if d := handler.Delay(err, backoff); d < 24*time.Hour {
			t.Errorf("%s: %s", name, d)
		}
	}
}
