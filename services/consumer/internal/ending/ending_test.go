package ending

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
	r := Rules{maxAttempts: last, maxCrashes: 2, backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Second }, longest: time.Hour}
	failed := errors.New("failed")
	poison := &message.Poison{Reason: message.ReasonBadMessage, Problem: "order_id is missing"}
	retry := func(delay time.Duration, kind Failure, problem string) Ending {
		return Ending{Op: Nack, Delay: delay, Problem: problem, Failure: kind}
	}
	again := func(delay time.Duration, kind Failure, problem string) Ending {
		return Ending{Op: Release, Delay: delay, Problem: problem, Failure: kind}
	}
	bury := func(reason string, kind Failure, problem string) Ending {
		return Ending{Op: Bury, Reason: reason, Problem: problem, Failure: kind}
	}
	untried := func(reason, problem string) Ending {
		return Ending{Op: Bury, Reason: reason, Problem: problem, Untried: true}
	}
	uncounted := func(e Returned) Returned {
		e.Uncounted = true
		return e
	}
	for name, test := range map[string]struct {
		attempt   int
		crashes   int32 // of the attempts before
		lastError string
		event     Event
		goesOn    bool
		want      Ending
	}{
		"it can never be processed":                    {attempt: 1, event: Arrived{poison}, want: untried(message.ReasonBadMessage, "order_id is missing")},
		"its consumer died once":                       {attempt: 2, crashes: 1, event: Arrived{}, goesOn: true},
		"its consumers died, again and again":          {attempt: 3, crashes: 2, event: Arrived{}, want: untried(message.ReasonCrashed, "the consumer died 2 times while it worked on this order and on nothing else")},
		"and it has failed before":                     {attempt: 4, crashes: 2, lastError: "boom", event: Arrived{}, want: untried(message.ReasonCrashed, "the consumer died 2 times while it worked on this order and on nothing else; it failed once; the last error was: boom")},
		"its last attempt ended with its consumer":     {attempt: last + 1, crashes: 1, lastError: "boom", event: Arrived{}, want: untried(message.ReasonMaxAttempts, "the consumer died once while it worked on this order and on nothing else; it failed 2 times; the last error was: boom")},
		"more attempts have failed than it has":        {attempt: last + 2, lastError: "boom", event: Arrived{}, want: untried(message.ReasonMaxAttempts, "it failed 4 times; the last error was: boom")},
		"was never tried, and cannot be buried":        {attempt: 1, event: Spoiled{untried("x", "it"), failed}, want: Ending{Op: Nack, MessageOnly: true, Delay: time.Hour, Problem: "it; and: failed", Untried: true}},
		"it has arrived":                               {attempt: 1, event: Arrived{}, goesOn: true},
		"it has arrived for its last attempt":          {attempt: last, event: Arrived{}, goesOn: true},
		"it is not worked on":                          {attempt: 1, event: Unstarted{}, want: Ending{Op: Release}},
		"nor for the last time":                        {attempt: last, event: Unstarted{}, want: Ending{Op: Release}},
		"done":                                         {attempt: 1, event: Returned{}, want: Ending{Op: Ack}},
		"done, when its time was up":                   {attempt: last, event: Returned{Cause: handler.ErrTimeout}, want: Ending{Op: Ack}},
		"done, when its lease had run out":             {attempt: last, event: Returned{Cause: handler.ErrLeaseExpired}, want: Ending{Op: Ack}},
		"failed":                                       {attempt: 1, event: Returned{Err: failed}, want: retry(time.Second, "error", "failed")},
		"failed again":                                 {attempt: 2, event: Returned{Err: failed}, want: retry(2*time.Second, "error", "failed")},
		"failed for the last time":                     {attempt: last, event: Returned{Err: failed}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"wants to choose its delay":                    {attempt: 2, event: Returned{Err: handler.RetryAfter(time.Minute, failed)}, want: retry(time.Minute, "error", "failed")},
		"wants some more delay":                        {attempt: 2, event: Returned{Err: handler.NotBefore(time.Minute, failed)}, want: retry(time.Minute+2*time.Second, "error", "failed")},
		"may choose no more when it was the last":      {attempt: last, event: Returned{Err: handler.RetryAfter(time.Minute, failed)}, want: bury(message.ReasonMaxAttempts, "error", "failed")},
		"no retry can help":                            {attempt: 1, event: Returned{Err: handler.Permanent(failed)}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"no retry can help, said in other words":       {attempt: 1, event: Returned{Err: fmt.Errorf("wrapped: %w", handler.Permanent(failed))}, want: bury(message.ReasonPermanent, "permanent", "wrapped: failed")},
		"no retry can help, and its time was up":       {attempt: 1, event: Returned{Err: handler.Permanent(failed), Cause: handler.ErrTimeout}, want: bury(message.ReasonPermanent, "permanent", "failed")},
		"panicked":                                     {attempt: 1, event: Returned{Err: &handler.PanicError{Value: "boom"}}, want: retry(time.Second, "panic", "handler panicked: boom")},
		"panicked for the last time":                   {attempt: last, event: Returned{Err: &handler.PanicError{Value: "boom"}}, want: bury(message.ReasonMaxAttempts, "panic", "handler panicked: boom")},
		"its time was up":                              {attempt: 1, event: Returned{Err: handler.ErrTimeout, Cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time was up, said in other words":         {attempt: 1, event: Returned{Err: failed, Cause: handler.ErrTimeout}, want: retry(time.Second, "timeout", handler.ErrTimeout.Error()+": failed")},
		"its time is up and it goes on":                {attempt: 1, event: Overran(0), want: retry(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time is up and it goes on, at last":       {attempt: last, event: Overran(0), want: bury(message.ReasonMaxAttempts, "timeout", handler.ErrTimeout.Error())},
		"it is not worked on, and keeps its place":     {attempt: 1, event: Unstarted{InPlace: true}, want: Ending{Op: Release, InPlace: true}},
		"asked for patience":                           {attempt: last, event: Returned{Err: handler.Throttled(time.Minute, failed)}, want: again(time.Minute+time.Second, "throttled", "failed")},
		"asked for patience, and did not say how much": {attempt: last, event: Returned{Err: handler.Throttled(0, failed)}, want: again(time.Second, "throttled", "failed")},
		"found nobody":                                 {attempt: 2, event: Returned{Err: handler.Unavailable(failed)}, want: retry(2*time.Second, "unavailable", "failed")},
		"found nobody, at last":                        {attempt: last, event: Returned{Err: handler.Unavailable(failed)}, want: bury(message.ReasonMaxAttempts, "unavailable", "failed")},
		"found nobody, as is known":                    {attempt: last, event: Returned{Err: handler.Unavailable(failed), Uncounted: true}, want: again(time.Second, "unavailable", "failed")},
		"failed in an outage":                          {attempt: last, event: Returned{Err: failed, Uncounted: true}, want: again(time.Second, "error", "failed")},
		"cannot work, as an outage says":               {attempt: 1, event: Returned{Err: handler.Permanent(failed), Uncounted: true}, want: again(time.Second, "permanent", "failed")},
		"its time was up in an outage":                 {attempt: last, event: Returned{Err: handler.ErrTimeout, Cause: handler.ErrTimeout, Uncounted: true}, want: again(time.Second, "timeout", handler.ErrTimeout.Error())},
		"its time is up in an outage, and it goes on":  {attempt: last, event: uncounted(Overran(0)), want: again(time.Second, "timeout", handler.ErrTimeout.Error())},
		"done in an outage":                            {attempt: 1, event: Returned{Uncounted: true}, want: Ending{Op: Ack}},
		"broken off by a drain":                        {attempt: last, event: Returned{Err: failed, Cause: handler.ErrDraining}, want: Ending{Op: Release}},
		"broken off when its lease ran out":            {attempt: last, event: Returned{Err: failed, Cause: handler.ErrLeaseExpired}, want: Ending{Op: Release}},
		"broken off when its lease was lost":           {attempt: last, event: Returned{Err: failed, Cause: handler.ErrLeaseLost}, want: Ending{Op: Release}},
		"broken off, and says that no retry helps":     {attempt: 1, event: Returned{Err: handler.Permanent(failed), Cause: handler.ErrDraining}, want: Ending{Op: Release}},
		"broken off, and panics":                       {attempt: 1, event: Returned{Err: &handler.PanicError{Value: "boom"}, Cause: handler.ErrDraining}, want: Ending{Op: Release}},
		"its order has gone":                           {attempt: 1, event: Orphaned{}, want: bury(message.ReasonUnknownOrder, "", "there is no order 42")},
		"done, and cannot be written":                  {attempt: 2, event: Spoiled{Ending{Op: Ack}, failed}, want: retry(2*time.Second, "write", "could not be written: failed")},
		"done, and cannot be written, at last":         {attempt: last, event: Spoiled{Ending{Op: Ack}, failed}, want: bury(message.ReasonMaxAttempts, "write", "could not be written: failed")},
		"failed, and its order cannot be told":         {attempt: 1, event: Spoiled{retry(time.Second, "error", "it"), failed}, want: Ending{Op: Nack, MessageOnly: true, Delay: time.Second, Problem: "it", Failure: "error"}},
		"nor can its message be written":               {attempt: 1, event: Spoiled{Ending{Op: Nack, MessageOnly: true, Problem: "it"}, failed}, want: Ending{Op: Nack, MessageOnly: true, Problem: "it"}},
		"can neither be completed nor buried":          {attempt: last, event: Spoiled{bury(message.ReasonMaxAttempts, "error", "it"), failed}, want: Ending{Op: Nack, MessageOnly: true, Delay: time.Hour, Problem: "it; and: failed", Failure: "error"}},
		"handed back, and that cannot be written":      {attempt: 1, event: Spoiled{Ending{Op: Release}, failed}, want: Ending{Op: Release}},
		"done, and that is suppressed":                 {attempt: last, event: Suppressed{Ending{Op: Ack}}, want: Ending{Op: Ack}},
		"failed, and that is suppressed":               {attempt: 1, event: Suppressed{retry(time.Second, "error", "it")}, want: Ending{Op: Nack, MessageOnly: true, Delay: time.Second, Problem: "it", Failure: "error"}},
		"nor can its message be delayed":               {attempt: 1, event: Suppressed{Ending{Op: Nack, MessageOnly: true, Problem: "it"}}, want: Ending{Op: Nack, MessageOnly: true, Problem: "it"}},
		"given up, and that is suppressed":             {attempt: last, event: Suppressed{bury(message.ReasonMaxAttempts, "error", "it")}, want: bury(message.ReasonMaxAttempts, "error", "it")},
	} {
		m := &message.Message{OrderID: 42, Attempt: test.attempt, Crashes: test.crashes, Failed: int32(test.attempt) - 1 - test.crashes, LastError: test.lastError}
		end := r.Decide(m, test.event)
		if end.Ends() == test.goesOn || end != test.want {
			t.Errorf("%s:\n got %+v (ends: %t)\nwant %+v", name, end, end.Ends(), test.want)
		}
	}
}

func TestWhatAnAttemptSaysAboutWhatItCalls(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for name, test := range map[string]struct {
		returned Returned
		says     gate.Result
		nothing  bool
	}{
		"done":                                {returned: Returned{}, says: gate.Answered},
		"done, though too late":               {returned: Returned{Cause: handler.ErrTimeout}, says: gate.Answered},
		"an error of its own":                 {returned: Returned{Err: failed}, says: gate.Answered},
		"an error of its own, with a delay":   {returned: Returned{Err: handler.RetryAfter(time.Minute, failed)}, says: gate.Answered},
		"no retry can help":                   {returned: Returned{Err: handler.Permanent(handler.Unavailable(failed))}, says: gate.Answered},
		"a panic":                             {returned: Returned{Err: &handler.PanicError{Value: "boom"}, Cause: handler.ErrTimeout}, says: gate.Answered},
		"unavailable":                         {returned: Returned{Err: fmt.Errorf("wrapped: %w", handler.Unavailable(failed))}, says: gate.Unavailable},
		"unavailable, when it may come again": {returned: Returned{Err: handler.NotBefore(time.Minute, handler.Unavailable(failed))}, says: gate.Unavailable},
		"time is up":                          {returned: Returned{Err: handler.ErrTimeout}, says: gate.Unavailable},
		"time is up, said in other words":     {returned: Returned{Err: failed, Cause: handler.ErrTimeout}, says: gate.Unavailable},
		"patience":                            {returned: Returned{Err: handler.Throttled(0, failed)}, says: gate.Throttled},
		"broken off by a drain":               {returned: Returned{Err: handler.Unavailable(failed), Cause: handler.ErrDraining}, nothing: true},
		"broken off when its lease ran out":   {returned: Returned{Err: handler.Unavailable(failed), Cause: handler.ErrLeaseExpired}, nothing: true},
		"broken off when its lease was lost":  {returned: Returned{Err: handler.ErrTimeout, Cause: handler.ErrLeaseLost}, nothing: true},
	} {
		if says, something := test.returned.Says(); something == test.nothing || something && says != test.says {
			t.Errorf("%s: %d (%t)", name, says, something)
		}
	}
}

func TestWhatTheHistoryCallsAnEnding(t *testing.T) {
	for want, ends := range map[string][]Ending{
		"failed": {
			{Op: Nack, Failure: "error"},
			{Op: Nack, Failure: "unavailable"},
			{Op: Nack, Failure: "write"},
			{Op: Bury, Failure: "error"},
			{Op: Nack, MessageOnly: true, Failure: "error"},
		},
		"timed_out": {{Op: Nack, Failure: "timeout"}, {Op: Bury, Failure: "timeout"}},
		"panicked":  {{Op: Nack, Failure: "panic"}},
		"permanent": {{Op: Bury, Failure: "permanent"}},
		"buried":    {{Op: Bury, Untried: true}},
		"released": {
			{Op: Release},
			{Op: Release, Failure: "throttled"},
			{Op: Release, Failure: "timeout"},
			{Op: Nack, MessageOnly: true, Untried: true},
		},
	} {
		for _, end := range ends {
			if got := end.HistoryOutcome(); got != want {
				t.Errorf("%+v is told as %s, want %s", end, got, want)
			}
		}
	}
}
