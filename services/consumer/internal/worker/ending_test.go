package worker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestHowADeliveryEnds(t *testing.T) {
	t.Parallel()
	const last = 3
	r := rules{maxAttempts: last, maxCrashes: 2, backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Second }, longest: time.Hour}
	failed := errors.New("failed")
	poison := &message.Poison{Reason: message.ReasonBadMessage, Problem: "order_id is missing"}
	retry := func(delay time.Duration, kind, problem string) ending {
		return ending{op: opNack, delay: delay, problem: problem, failure: kind}
	}
	again := func(delay time.Duration, kind, problem string) ending {
		return ending{op: opRelease, delay: delay, problem: problem, failure: kind}
	}
	bury := func(reason, kind, problem string) ending {
		return ending{op: opBury, reason: reason, problem: problem, failure: kind}
	}
	untried := func(reason, problem string) ending {
		return ending{op: opBury, reason: reason, problem: problem, untried: true}
	}
	for name, test := range map[string]struct {
		attempt   int
		crashes   int32 // of the attempts before
		lastError string
		event     event
		goesOn    bool
		want      ending
	}{
		"it can never be processed":                         {attempt: 1, event: arrived{poison}, want: untried(message.ReasonBadMessage, "order_id is missing")},
		"its consumer died once":                            {attempt: 2, crashes: 1, event: arrived{}, goesOn: true},
		"its consumers died, again and again":               {attempt: 3, crashes: 2, event: arrived{}, want: untried(message.ReasonCrashed, "the consumer died 2 times while it worked on this order and on nothing else")},
		"and it has failed before":                          {attempt: 4, crashes: 2, lastError: "boom", event: arrived{}, want: untried(message.ReasonCrashed, "the consumer died 2 times while it worked on this order and on nothing else; it failed once; the last error was: boom")},
		"its last attempt ended with its consumer":          {attempt: last + 1, crashes: 1, lastError: "boom", event: arrived{}, want: untried(message.ReasonMaxAttempts, "the consumer died once while it worked on this order and on nothing else; it failed 2 times; the last error was: boom")},
		"more attempts have failed than it has":             {attempt: last + 2, lastError: "boom", event: arrived{}, want: untried(message.ReasonMaxAttempts, "it failed 4 times; the last error was: boom")},
		"was never tried, and cannot be buried":             {attempt: 1, event: refused{untried("x", "it"), failed}, want: ending{op: opNack, messageOnly: true, delay: time.Hour, problem: "it; and: failed", counted: true, untried: true}},
		"it has arrived":                                    {attempt: 1, event: arrived{}, goesOn: true},
		"it has arrived for its last attempt":               {attempt: last, event: arrived{}, goesOn: true},
		"it is not worked on":                               {attempt: 1, event: unstarted{}, want: ending{op: opRelease}},
		"nor for the last time":                             {attempt: last, event: unstarted{}, want: ending{op: opRelease}},
		"done":                                              {attempt: 1, event: returned{}, want: ending{op: opAck}},
		"done, when its time was up":                        {attempt: last, event: returned{cause: handler.ErrTimeout}, want: ending{op: opAck}},
		"done, when its lease had run out":                  {attempt: last, event: returned{cause: handler.ErrLeaseExpired}, want: ending{op: opAck}},
		"failed":                                            {attempt: 1, event: returned{err: failed}, want: retry(time.Second, "error", "failed")},
		"failed again":                                      {attempt: 2, event: returned{err: failed}, want: retry(2*time.Second, "error", "failed")},
		"failed for the last time":                          {attempt: last, event: returned{err: failed}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"wants to choose its delay":                         {attempt: 2, event: returned{err: handler.RetryAfter(time.Minute, failed)}, want: retry(time.Minute, "error", "failed")},
		"wants some more delay":                             {attempt: 2, event: returned{err: handler.NotBefore(time.Minute, failed)}, want: retry(time.Minute+2*time.Second, "error", "failed")},
		"may choose no more when it was the last":           {attempt: last, event: returned{err: handler.RetryAfter(time.Minute, failed)}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"no retry can help":                                 {attempt: 1, event: returned{err: handler.Permanent(failed)}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"no retry can help, said in other words":            {attempt: 1, event: returned{err: fmt.Errorf("wrapped: %w", handler.Permanent(failed))}, want: bury(message.ReasonPermanent, "permanent", "wrapped: failed")},
		"no retry can help, and its time was up":            {attempt: 1, event: returned{err: handler.Permanent(failed), cause: handler.ErrTimeout}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"panicked":                                          {attempt: 1, event: returned{err: &panicked{"boom"}}, want: retry(time.Second, "panic", "handler panicked: boom")},
		"panicked for the last time":                        {attempt: last, event: returned{err: &panicked{"boom"}}, want: bury(message.ReasonMaxAttempts, "panic", "handler panicked: boom")},
		"its time was up":                                   {attempt: 1, event: returned{err: handler.ErrTimeout, cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time was up, said in other words":              {attempt: 1, event: returned{err: failed, cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error()+": failed")},
		"its time is up and it goes on":                     {attempt: 1, event: overrun{}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time is up and it goes on, at last":            {attempt: last, event: overrun{}, want: bury(message.ReasonMaxAttempts, "timeout", handler.ErrTimeout.Error())},
		"it has been due for a while, and is not worked on": {attempt: 1, event: unstarted{ago: time.Minute}, want: ending{op: opRelease, delay: -time.Minute}},
		"asked for patience":                                {attempt: last, event: returned{err: handler.Throttled(time.Minute, failed)}, want: again(time.Minute+time.Second, "throttled", "failed")},
		"asked for patience, and did not say how much":      {attempt: last, event: returned{err: handler.Throttled(0, failed)}, want: again(time.Second, "throttled", "failed")},
		"found nobody":                                      {attempt: 2, event: returned{err: handler.Unavailable(failed)}, want: retry(2*time.Second, "unavailable", "failed")},
		"found nobody, at last":                             {attempt: last, event: returned{err: handler.Unavailable(failed)}, want: bury(message.ReasonMaxAttempts, "unavailable", "failed")},
		"found nobody, as is known":                         {attempt: last, event: returned{err: handler.Unavailable(failed), uncounted: true}, want: again(time.Second, "unavailable", "failed")},
		"failed in an outage":                               {attempt: last, event: returned{err: failed, uncounted: true}, want: again(time.Second, "error", "failed")},
		"cannot work, as an outage says":                    {attempt: 1, event: returned{err: handler.Permanent(failed), uncounted: true}, want: again(time.Second, "permanent", "failed")},
		"its time was up in an outage":                      {attempt: last, event: returned{err: handler.ErrTimeout, cause: handler.ErrTimeout, uncounted: true}, want: again(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time is up in an outage, and it goes on":       {attempt: last, event: overrun{uncounted: true}, want: again(time.Second, "timeout", handler.ErrTimeout.Error())},
		"done in an outage":                                 {attempt: 1, event: returned{uncounted: true}, want: ending{op: opAck}},
		"broken off by a drain":                             {attempt: last, event: returned{err: failed, cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"broken off when its lease ran out":                 {attempt: last, event: returned{err: failed, cause: handler.ErrLeaseExpired}, want: ending{op: opRelease}},
		"broken off when its lease was lost":                {attempt: last, event: returned{err: failed, cause: handler.ErrLeaseLost}, want: ending{op: opRelease}},
		"broken off, and says that no retry helps":          {attempt: 1, event: returned{err: handler.Permanent(failed), cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"broken off, and panics":                            {attempt: 1, event: returned{err: &panicked{"boom"}, cause: handler.ErrDraining}, want: ending{op: opRelease}},
		"its order has gone":                                {attempt: 1, event: orphaned{}, want: bury(message.ReasonUnknownOrder, "", "there is no order 42")},
		"done, and cannot be written":                       {attempt: 2, event: refused{ending{op: opAck}, failed}, want: retry(2*time.Second, "write", "could not be written: failed")},
		"done, and cannot be written, at last":              {attempt: last, event: refused{ending{op: opAck}, failed}, want: bury(message.ReasonMaxAttempts, "write", "could not be written: failed")},
		"failed, and its order cannot be told":              {attempt: 1, event: refused{retry(time.Second, "error", "it"), failed}, want: ending{op: opNack, messageOnly: true, delay: time.Second, problem: "it", failure: "error", counted: true}},
		"nor can its message be written":                    {attempt: 1, event: refused{ending{op: opNack, messageOnly: true, problem: "it", counted: true}, failed}, want: ending{op: opNack, messageOnly: true, problem: "it", counted: true}},
		"can neither be completed nor buried":               {attempt: last, event: refused{bury(message.ReasonMaxAttempts, "error", "it"), failed}, want: ending{op: opNack, messageOnly: true, delay: time.Hour, problem: "it; and: failed", failure: "error", counted: true}},
		"handed back, and that cannot be written":           {attempt: 1, event: refused{ending{op: opRelease}, failed}, want: ending{op: opRelease}},
	} {
		m := &message.Message{OrderID: 42, Attempt: test.attempt, Crashes: test.crashes, Failed: int32(test.attempt) - 1 - test.crashes, LastError: test.lastError}
		end, ends := r.decide(m, test.event)
		if ends == test.goesOn || end != test.want {
			t.Errorf("%s:\n got %+v (ends: %t)\nwant %+v", name, end, ends, test.want)
		}
	}
}

func TestWhatAnAttemptSaysAboutWhatItCalls(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for name, test := range map[string]struct {
		returned returned
		says     gate.Result
		nothing  bool
	}{
		"done":                                {returned: returned{}, says: gate.Answered},
		"done, though too late":               {returned: returned{cause: handler.ErrTimeout}, says: gate.Answered},
		"an error of its own":                 {returned: returned{err: failed}, says: gate.Answered},
		"an error of its own, with a delay":   {returned: returned{err: handler.RetryAfter(time.Minute, failed)}, says: gate.Answered},
		"no retry can help":                   {returned: returned{err: handler.Permanent(handler.Unavailable(failed))}, says: gate.Answered},
		"a panic":                             {returned: returned{err: &panicked{"boom"}, cause: handler.ErrTimeout}, says: gate.Answered},
		"unavailable":                         {returned: returned{err: fmt.Errorf("wrapped: %w", handler.Unavailable(failed))}, says: gate.Unavailable},
		"unavailable, when it may come again": {returned: returned{err: handler.NotBefore(time.Minute, handler.Unavailable(failed))}, says: gate.Unavailable},
		"time is up":                          {returned: returned{err: handler.ErrTimeout}, says: gate.Unavailable},
		"time is up, said in other words":     {returned: returned{err: failed, cause: handler.ErrTimeout}, says: gate.Unavailable},
		"patience":                            {returned: returned{err: handler.Throttled(0, failed)}, says: gate.Throttled},
		"broken off by a drain":               {returned: returned{err: handler.Unavailable(failed), cause: handler.ErrDraining}, nothing: true},
		"broken off when its lease ran out":   {returned: returned{err: handler.Unavailable(failed), cause: handler.ErrLeaseExpired}, nothing: true},
		"broken off when its lease was lost":  {returned: returned{err: handler.ErrTimeout, cause: handler.ErrLeaseLost}, nothing: true},
	} {
		if says, something := test.returned.says(); something == test.nothing || something && says != test.says {
			t.Errorf("%s: %d (%t)", name, says, something)
		}
	}
}

func TestWhatTheHistoryCallsAnEnding(t *testing.T) {
	for want, ends := range map[string][]ending{
		"failed": {
			{op: opNack, failure: "error"},
			{op: opNack, failure: "unavailable"},
			{op: opNack, failure: "write"},
			{op: opBury, failure: "error"},
			{op: opNack, messageOnly: true, failure: "error", counted: true},
		},
		"timed_out": {{op: opNack, failure: "timeout"}, {op: opBury, failure: "timeout"}},
		"panicked":  {{op: opNack, failure: "panic"}},
		"permanent": {{op: opBury, failure: "permanent"}},
		"buried":    {{op: opBury, untried: true}},
		"released": {
			{op: opRelease},
			{op: opRelease, failure: "throttled"},
			{op: opRelease, failure: "timeout"},
			{op: opNack, messageOnly: true, untried: true, counted: true},
		},
	} {
		for _, end := range ends {
			if got := end.historyOutcome(); got != want {
				t.Errorf("%+v is told as %s, want %s", end, got, want)
			}
		}
	}
}
