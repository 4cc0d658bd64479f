package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"orderflow.example/dev/internal/stack"
)

var causeAt = time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)

func after(d time.Duration) *time.Time {
	at := causeAt.Add(d)
	return &at
}

// sound is the evidence of a fault that broke nothing: 100 orders of the load generator's, 10 of the prober's, one of them refused.
func sound() evidence {
	return evidence{
		account: stack.Report{Audit: &stack.Audit{Accepted: 100, Completed: 100}},
		ledger:  ledger{completed: 109, retried: 3, mostAttempts: 2, lastBefore: after(time.Second), firstAfter: after(2 * time.Second)},
		probes:  10, probed: 9, probedCompleted: 9,
		causeAt: causeAt, lag: 100 * time.Millisecond, lives: []life{{"api", true}, {"consumer-1", true}},
	}
}

// received is the account of a receiver that all 109 orders came to.
func received(t *testing.T, change string) *stack.Received {
	t.Helper()
	var a stack.Received
	for _, text := range []string{`{"received": {"ids": 109, "repetitions": 5}, "requests": {"new": 109, "repeated": 5}, "orders": {"accepted": 109, "once": 105, "repeated": 4}, "faults": []}`, change} {
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
	}
	return &a
}

// What a receiver did not get, or not as it was, fails the fault. What it got more than once does not.
func TestJudgeReceived(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		`{}`:                                  "",
		`{"orders": {"repeated": 50}}`:        "",
		`{"requests": {"stale": 3}}`:          "",
		`{"orders": {"never": 1}}`:            "orders completed that never arrived",
		`{"orders": {"altered": 1}}`:          "orders that arrived altered, or under another's id",
		`{"received": {"altered": 1}}`:        "orders that arrived altered, or under another's id",
		`{"received": {"mistaken": 1}}`:       "orders that arrived altered, or under another's id",
		`{"received": {"renamed": 1}}`:        "orders that arrived under two ids",
		`{"requests": {"forged": 1}}`:         "webhooks without a valid signature",
		`{"orders": {"accepted": 108}}`:       "orders that the receiver accounted for",
		`{"orders": null}`:                    "orders that the receiver accounted for",
		`{"faults": ["something new"]}`:       "receiver",
		`{"orders": {"never": 1, "once": 0}}`: "orders completed that never arrived",
	} {
		e := sound()
		e.received = received(t, change)
		var r Result
		r.judge(Fault{Recovery: fiveSeconds}, Plan{}, e)
		if got := broken(r); strings.Join(got, ", ") != want {
			t.Errorf("%s: broken: %q, want %q", change, got, want)
		}
	}
}

// The function's table has one row for each completed order.
func TestJudgeEffects(t *testing.T) {
	t.Parallel()
	for want, effects := range map[string]stack.Effects{
		"": {Rows: 109},
		"orders with more than one row of the function's, rows of the function's":                           {Rows: 110, Twice: 1},
		"completed orders without a row of the function's, rows of the function's":                          {Rows: 108, Missing: 1},
		"rows of the function's without a completed order, rows of the function's":                          {Rows: 110, Foreign: 1},
		"orders with more than one row of the function's, completed orders without a row of the function's": {Rows: 109, Twice: 1, Missing: 1},
	} {
		e := sound()
		e.effects = &effects
		var r Result
		r.judge(Fault{Recovery: fiveSeconds}, Plan{}, e)
		if got := broken(r); strings.Join(got, ", ") != want {
			t.Errorf("%+v: broken: %q, want %q", effects, got, want)
		}
	}
}

func broken(r Result) []string {
	var names []string
	for _, c := range r.Checks {
		if !c.OK {
			names = append(names, c.What)
		}
	}
	return names
}

// Every way in which the promise can be broken fails the fault, and what fails it is named.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(e *evidence)
		plan   Plan
		want   []string // the broken promises, in order
	}{
		"nothing":                            {change: func(*evidence) {}},
		"the load generator's exit code":     {change: func(e *evidence) { e.exitCode = 99 }, want: []string{"loadgen's exit code"}},
		"the exit code of its report":        {change: func(e *evidence) { e.account.ExitCode = 99 }, want: []string{"loadgen's exit code"}},
		"an order of its own is lost":        {change: func(e *evidence) { e.account.Audit.Lost, e.account.Audit.Completed = 1, 99 }, want: []string{"orders lost", "accepted = completed + dead"}},
		"an order of the prober's is lost":   {change: func(e *evidence) { e.probedCompleted = 8 }, want: []string{"orders lost", "accepted = completed + dead"}},
		"an order is pending":                {change: func(e *evidence) { e.account.Audit.Completed = 99 }, want: []string{"accepted = completed + dead"}},
		"the audit saw one twice":            {change: func(e *evidence) { e.account.Audit.Duplicated = 1 }, want: []string{"orders made or processed twice"}},
		"the database saw one twice":         {change: func(e *evidence) { e.ledger.twice = 1 }, want: []string{"orders made or processed twice"}},
		"one of the prober's is there twice": {change: func(e *evidence) { e.ledger.doubled = 1 }, want: []string{"orders made or processed twice"}},
		"completed without an effect":        {change: func(e *evidence) { e.ledger.mismatched = 1 }, want: []string{"orders whose status and ledger disagree"}},
		"the queue does not empty":           {change: func(e *evidence) { e.unsettled = errors.New("depth 3") }, want: []string{"every order is settled and the queue is empty"}},
		"a consumer has ended":               {change: func(e *evidence) { e.lives[1].running = false }, want: []string{"consumer-1 lives on"}},
		"nothing was accepted": {change: func(e *evidence) {
			e.account.Audit.Accepted, e.account.Audit.Completed = 0, 0
			e.probed, e.probedCompleted = 0, 0
		}, want: []string{"orders accepted"}},
		"nothing was completed after it":     {change: func(e *evidence) { e.ledger.firstAfter = nil }, want: []string{"orders posted after the cause's end that were completed"}},
		"recovery within bar and lag":        {change: func(e *evidence) { e.ledger.firstAfter = after(5100 * time.Millisecond) }},
		"recovery beyond them":               {change: func(e *evidence) { e.ledger.firstAfter = after(5101 * time.Millisecond) }, want: []string{"recovery"}},
		"recovery of what was posted before": {change: func(e *evidence) { e.ledger.lastBefore = after(6 * time.Second) }, want: []string{"recovery"}},
		"untimed: ten times the bar":         {change: func(e *evidence) { e.ledger.firstAfter = after(50 * time.Second) }, plan: Plan{Untimed: true}},
		"untimed: beyond":                    {change: func(e *evidence) { e.ledger.firstAfter = after(52 * time.Second) }, plan: Plan{Untimed: true}, want: []string{"recovery"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			test.change(&e)
			var r Result
			r.judge(Fault{Name: "test", Recovery: fiveSeconds}, test.plan, e)
			if got := broken(r); strings.Join(got, ", ") != strings.Join(test.want, ", ") {
				t.Errorf("broken: %q, want %q", got, test.want)
			}
			if r.Failed() != (len(test.want) > 0) {
				t.Errorf("failed: %v", r.Failed())
			}
		})
	}
}

// Orders that were posted one at a time are all that the ledger has.
func TestJudgeAlone(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]ledger{
		"":                               {completed: 59, dead: 1, retried: 90},
		"orders made or processed twice": {completed: 60, twice: 1},
		"accepted = completed + dead":    {completed: 59},
		"orders whose status and ledger disagree":                     {completed: 60, mismatched: 1},
		"orders made or processed twice, accepted = completed + dead": {completed: 61, doubled: 1},
	} {
		r := Result{Accepted: 60, Completed: 60}
		r.judgeAlone(l)
		if got := strings.Join(broken(r), ", "); got != want {
			t.Errorf("%+v: broken: %q, want %q", l, got, want)
		}
	}
}

// A soak's cycles are judged as faults are, by the audit and by the ledger.
func TestASoakHoldsEachCycleToItsAccount(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(e *evidence){
		"":                                    func(*evidence) {},
		"cycle 1: loadgen's exit code: 1 (0)": func(e *evidence) { e.exitCode = 1 },
		"cycle 1: orders lost: 1 (0)":         func(e *evidence) { e.account.Audit.Lost, e.account.Audit.Dead = 1, 1; e.account.Audit.Completed = 99 },
		"cycle 1: accepted = completed + dead: 99 (100)":          func(e *evidence) { e.account.Audit.Completed = 99 },
		"cycle 1: orders made or processed twice: 1 (0)":          func(e *evidence) { e.account.Audit.Duplicated = 1 },
		"cycle 1: orders made or processed twice: 2 (0)":          func(e *evidence) { e.ledger.twice = 2 },
		"cycle 1: orders whose status and ledger disagree: 1 (0)": func(e *evidence) { e.ledger.mismatched = 1 },
		"cycle 1: every order is settled and the queue is empty: 0 pending, 3 queued (late) (0 pending, 0 queued (<nil>))": func(e *evidence) {
			e.ledger.queued, e.unsettled = 3, errors.New("late")
		},
	} {
		e := evidence{account: stack.Report{Audit: &stack.Audit{Accepted: 100, Completed: 100}}}
		change(&e)
		s := Soak{Cycles: 1}
		if s.add(e); strings.Join(s.Wrong, ", ") != want || s.Audit.Accepted != 100 {
			t.Errorf("%q, %s; want %q", s.Wrong, s.Audit, want)
		}
	}
}

func TestTheFiguresAreTheSumOfBothClients(t *testing.T) {
	t.Parallel()
	e := sound()
	e.account.Audit.Completed, e.account.Audit.Dead, e.account.Audit.Lost, e.probedCompleted, e.ledger.twice = 90, 4, 6, 7, 2
	var r Result
	r.judge(Fault{Recovery: fiveSeconds}, Plan{}, e)
	if r.Orders != 110 || r.Accepted != 109 || r.Completed != 97 || r.Dead != 4 || r.Lost != 8 || r.Duplicated != 2 || r.Retried != 3 ||
		r.Recovery != 2*time.Second || r.Bar != 5*time.Second {
		t.Errorf("%+v", r)
	}
}

// A fault fails by an error, a broken promise, or having put none to the test; a suite by any fault, or having run none.
func TestFailed(t *testing.T) {
	t.Parallel()
	kept, missed := []Check{{OK: true}, {OK: true}}, []Check{{OK: true}, {OK: false}}
	for name, test := range map[string]struct {
		results []Result
		want    bool
	}{
		"all promises kept":             {[]Result{{Checks: kept}}, false},
		"one broken":                    {[]Result{{Checks: kept}, {Checks: missed}, {Checks: kept}}, true},
		"an error":                      {[]Result{{Checks: kept, Err: errors.New("no database")}}, true},
		"no promise put to the test":    {[]Result{{}}, true},
		"one left out":                  {[]Result{{Skipped: "no C compiler"}, {Checks: kept}}, false},
		"all left out":                  {[]Result{{Skipped: "no C compiler"}}, true},
		"no fault at all":               {nil, true},
		"the last one, after good ones": {[]Result{{Checks: kept}, {Checks: kept}, {Checks: missed}}, true},
	} {
		if got := Failed(test.results); got != test.want {
			t.Errorf("%s: failed is %v", name, got)
		}
	}
}

// Durations are judged by the bar and twice what the machine itself was late, unless it is shared with whatever else is going on.
func TestQuick(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		got  time.Duration
		plan Plan
		want bool
	}{
		{time.Second, Plan{}, true}, {1200 * time.Millisecond, Plan{}, true}, {1201 * time.Millisecond, Plan{}, false}, {time.Hour, Plan{Untimed: true}, true},
	} {
		var r Result
		r.quick(test.plan, 100*time.Millisecond, "x", test.got, time.Second)
		if len(r.Checks) != 1 || r.Checks[0].OK != test.want || !r.Checks[0].Measured {
			t.Errorf("%v: %+v", test.got, r.Checks)
		}
	}
}

// In an outage a customer is answered 201 or 503, and afterwards 201 again.
func TestAnswers(t *testing.T) {
	t.Parallel()
	good := []probe{{status: 201, took: time.Millisecond, sent: causeAt}, {status: 503, took: 2 * time.Millisecond, sent: causeAt}}
	for name, test := range map[string]struct {
		probes []probe
		want   []string
	}{
		"201 and 503":  {good, nil},
		"a 500":        {append([]probe{{status: 500}}, good...), []string{"answers of the api during the outage"}},
		"no answer":    {append([]probe{{err: errors.New("reset")}}, good...), []string{"answers of the api during the outage"}},
		"nobody asked": {nil, []string{"answers of the api during the outage"}},
		"a slow one":   {append([]probe{{status: 503, took: 1100 * time.Millisecond}}, good...), []string{"slowest answer"}},
	} {
		var r Result
		r.answers(Plan{}, 0, test.probes)
		if got := broken(r); strings.Join(got, ", ") != strings.Join(test.want, ", ") {
			t.Errorf("%s: broken: %q, want %q", name, got, test.want)
		}
	}
	for name, test := range map[string]struct {
		probes []probe
		ok     bool
	}{
		"at once":        {good, true},
		"only before":    {[]probe{{status: 201, sent: causeAt.Add(-time.Second), took: time.Millisecond}}, false},
		"only refusals":  {[]probe{{status: 503, sent: causeAt, took: time.Millisecond}}, false},
		"after too long": {[]probe{{status: 201, sent: causeAt.Add(3 * time.Second)}}, false},
	} {
		var r Result
		r.accepts(Plan{}, 0, test.probes, causeAt, 2*time.Second)
		if len(r.Checks) != 1 || r.Checks[0].OK != test.ok {
			t.Errorf("%s: %+v", name, r.Checks)
		}
	}
	var r Result
	if r.accepts(Plan{Untimed: true}, 0, nil, causeAt, time.Second); !r.Failed() {
		t.Error("no order was taken again, and that is no fault where durations are not judged")
	}
}

// The table says what failed, and why.
func TestTheTableNamesWhatFailed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	Table(&out, []Result{
		{Fault: Fault{Name: "good"}, Accepted: 5, Completed: 5, Checks: []Check{{What: "orders lost", OK: true}}},
		{Fault: Fault{Name: "bad"}, Accepted: 5, Completed: 4, Lost: 1, Checks: []Check{{What: "orders lost", Got: "1", Want: "0"}}, Log: []string{"consumer-1 | gone"}},
		{Fault: Fault{Name: "left-out"}, Skipped: "no C compiler"},
	})
	for _, want := range []string{"bad: FAILED: orders lost: 1 (0)", "consumer-1 | gone", "left-out: not run: no C compiler", "chaos: faults=2 accepted=10 completed=9 dead=0 lost=1 duplicated=0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "FAILED"); n != 2 {
		t.Errorf("FAILED stands there %d times, want 2:\n%s", n, &out)
	}
}

// Where orders have to be lost, a run in which nobody notices has failed.
func TestWhatHasToBeLostHasToBeFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*evidence)
		wrong  string // empty: it is as it has to be
	}{
		"found":           {func(*evidence) {}, ""},
		"nothing found":   {func(e *evidence) { e.account.Audit.Lost, e.account.Audit.Completed = 0, 100 }, "orders lost, which the load generator's audit has to find"},
		"and one unfound": {func(e *evidence) { e.account.Audit.Lost = 6 }, "accepted = completed + dead + lost"},
		"one is stuck":    {func(e *evidence) { e.unsettled = errors.New("1 pending") }, "every order is settled and the queue is empty"},
		"and contradicts": {func(e *evidence) { e.ledger.mismatched = 1 }, "orders whose status and ledger disagree"},
		"and made twice":  {func(e *evidence) { e.ledger.doubled = 1 }, "orders made or processed twice"},
		"found, and fine": {func(e *evidence) { e.exitCode, e.account.ExitCode = 0, 0 }, "loadgen's exit code"},
		"and done twice":  {func(e *evidence) { e.account.Audit.Duplicated = 1 }, "orders made or processed twice"},
	} {
		e := sound()
		e.account.Audit.Lost, e.account.Audit.Completed, e.exitCode, e.account.ExitCode = 7, 93, 1, 1
		test.change(&e)
		var r Result
		r.judge(Fault{Loses: true}, ShortPlan(), e)
		var wrong []string
		for _, c := range r.Checks {
			if !c.OK {
				wrong = append(wrong, c.What)
			}
		}
		if strings.Join(wrong, ", ") != test.wrong {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestTheLongestGapIsTheOutage(t *testing.T) {
	t.Parallel()
	at := func(seconds ...int) (all []time.Time) {
		for _, s := range seconds {
			all = append(all, causeAt.Add(time.Duration(s)*time.Second))
		}
		return all
	}
	for want, moments := range map[time.Duration][]time.Time{
		5 * time.Second: at(12, 1, 2, 7, 8), 3 * time.Second: at(3, 4), 0: nil,
	} {
		if got := longestGap(causeAt, moments); got != want {
			t.Errorf("%v: %v, want %v", moments, got, want)
		}
	}
}
