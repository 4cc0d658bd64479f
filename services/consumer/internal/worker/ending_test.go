package worker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestHowADeliveryEnds(t *testing.T) {
	t.Parallel()
	const last = 3
	r := rules{maxAttempts: last, backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Second }, longest: time.Hour}
	failed := errors.New("failed")
	poison := &message.Poison{Reason: message.ReasonBadMessage, Problem: "order_id is missing"}
	retry := func(delay time.Duration, kind, problem string) ending {
		return ending{op: opNack, delay: delay, problem: problem, failure: kind}
	}
	bury := func(reason, kind, problem string) ending {
		return ending{op: opBury, reason: reason, problem: problem, failure: kind}
	}
	for name, test := range map[string]struct {
		attempt   int
		lastError string
		event     event
		goesOn    bool
		want      ending
	}{
		"it has arrived":                           {attempt: 1, event: arrived{}, goesOn: true},
		"it has arrived for its last attempt":      {attempt: last, event: arrived{}, goesOn: true},
		"it can never be processed":                {attempt: 1, event: arrived{poison}, want: bury(message.ReasonBadMessage, "", "order_id is missing")},
		"its last attempt has not been heard of":   {attempt: last + 1, event: arrived{}, want: bury(message.ReasonMaxAttempts, "", "no answer from the last of 3 attempts")},
		"nor the last, but the one before":         {attempt: last + 1, lastError: "boom", event: arrived{}, want: bury(message.ReasonMaxAttempts, "", "no answer from the last of 3 attempts; the last error was: boom")},
		"it is not worked on":                      {attempt: 1, event: unstarted{}, want: ending{op: opRelease}},
		"nor for the last time":                    {attempt: last, event: unstarted{}, want: ending{op: opRelease}},
		"done":                                     {attempt: 1, event: returned{}, want: ending{op: opAck}},
		"done, when its time was up":               {attempt: last, event: returned{cause: handler.ErrTimeout}, want: ending{op: opAck}},
		"done, when its lease had run out":         {attempt: last, event: returned{cause: handler.ErrLeaseExpired}, want: ending{op: opAck}},
		"failed":                                   {attempt: 1, event: returned{err: failed}, want: retry(time.Second, "error", "failed")},
		"failed again":                             {attempt: 2, event: returned{err: failed}, want: retry(2*time.Second, "error", "failed")},
		"failed for the last time":                 {attempt: last, event: returned{err: failed}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"wants to choose its delay":                {attempt: 2, event: returned{err: handler.RetryAfter(time.Minute, failed)}, want: retry(time.Minute, "error", "failed")},
		"wants some more delay":                    {attempt: 2, event: returned{err: handler.NotBefore(time.Minute, failed)}, want: retry(time.Minute+2*time.Second, "error", "failed")},
		"may choose no more when it was the last":  {attempt: last, event: returned{err: handler.RetryAfter(time.Minute, failed)}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"no retry can help":                        {attempt: 1, event: returned{err: handler.Permanent(failed)}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"no retry can help, said in other words":   {attempt: 1, event: returned{err: fmt.Errorf("wrapped: %w", handler.Permanent(failed))}, want: bury(message.ReasonPermanent, "permanent", "wrapped: failed")},
		"no retry can help, and its time was up":   {attempt: 1, event: returned{err: handler.Permanent(failed), cause: handler.ErrTimeout}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"panicked":                                 {attempt: 1, event: returned{err: &panicked{"boom"}}, want: retry(time.Second, "panic", "handler panicked: boom")},
		"panicked for the last time":               {attempt: last, event: returned{err: &panicked{"boom"}}, want: bury(message.ReasonMaxAttempts, "panic", "handler panicked: boom")},
		"its time was up":                          {attempt: 1, event: returned{err: handler.ErrTimeout, cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time was up, said in other words":     {attempt: 1, event: returned{err: failed, cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error()+": failed")},
		"its time is up and it goes on":            {attempt: 1, event: overrun{}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time is up and it goes on, at last":   {attempt: last, event: overrun{}, want: bury(message.ReasonMaxAttempts, "timeout", handler.ErrTimeout.Error())},
		"broken off by a drain":                    {attempt: last, event: returned{err: failed, cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"broken off when its lease ran out":        {attempt: last, event: returned{err: failed, cause: handler.ErrLeaseExpired}, want: ending{op: opRelease}},
		"broken off when its lease was lost":       {attempt: last, event: returned{err: failed, cause: handler.ErrLeaseLost}, want: ending{op: opRelease}},
		"broken off, and says that no retry helps": {attempt: 1, event: returned{err: handler.Permanent(failed), cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"broken off, and panics":                   {attempt: 1, event: returned{err: &panicked{"boom"}, cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"its order has gone":                       {attempt: 1, event: orphaned{}, want: bury(message.ReasonUnknownOrder, "", "there is no order 42")},
		"done, and cannot be written":              {attempt: 2, event: refused{ending{op: opAck}, failed}, want: retry(2*time.Second, "write", "could not be written: failed")},
		"done, and cannot be written, at last":     {attempt: last, event: refused{ending{op: opAck}, failed}, want: bury(message.ReasonMaxAttempts, "write", "could not be written: failed")},
		"failed, and its order cannot be told":     {attempt: 1, event: refused{retry(time.Second, "error", "it"), failed}, want: ending{op: opNack, messageOnly: true, delay: time.Second, problem: "it"}},
		"nor can its message be written":           {attempt: 1, event: refused{ending{op: opNack, messageOnly: true, problem: "it"}, failed}, want: ending{op: opNack, messageOnly: true, problem: "it"}},
		"can neither be completed nor buried":      {attempt: last, event: refused{bury(message.ReasonMaxAttempts, "error", "it"), failed}, want: ending{op: opNack, messageOnly: true, delay: time.Hour, problem: "it; and: failed"}},
		"handed back, and that cannot be written":  {attempt: 1, event: refused{ending{op: opRelease}, failed}, want: ending{op: opRelease}},
	} {
		m := &message.Message{OrderID: 42, Attempt: test.attempt, LastError: test.lastError}
		end, ends := r.decide(m, test.event)
		if ends == test.goesOn || end != test.want {
			t.Errorf("%s:\n got %+v (ends: %t)\nwant %+v", name, end, ends, test.want)
		}
	}
}
