package load_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/load"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestMain(m *testing.M) {
	// fasthttp's cleaner of idle connections sleeps for as long as they may live before it sees that there are none left; only the benchmark has any.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// api answers in the test's own time. It is safe for concurrent use.
type api struct {
	start time.Time
	// answer says what a try is answered with, and after how long.
	answer func(a *api, key string, try int) (client.Answer, time.Duration)

	mu    sync.Mutex
	tries map[string][]time.Time // by key
	body  map[string]string
	now   int // under way
	most  int
}

func newAPI(answer func(a *api, key string, try int) (client.Answer, time.Duration)) *api {
	return &api{start: time.Now(), answer: answer, tries: map[string][]time.Time{}, body: map[string]string{}}
}

func (a *api) Post(key, body []byte) client.Answer {
	a.mu.Lock()
	if before, ok := a.body[string(key)]; ok && before != string(body) {
		a.mu.Unlock()
		return client.Answer{Status: 422}
	}
	a.body[string(key)] = string(body)
	a.tries[string(key)] = append(a.tries[string(key)], time.Now())
	answer, after := a.answer(a, string(key), len(a.tries[string(key)]))
	for i := range answer.Orders {
		if o := &answer.Orders[i]; o.Data == (orders.Data{}) {
			o.Data = dataOf(body, i)
		}
	}
	a.now++
	a.most = max(a.most, a.now)
	a.mu.Unlock()
	<-time.After(after)
	a.mu.Lock()
	a.now--
	a.mu.Unlock()
	return answer
}

func (a *api) Release() {}

// dataOf is the i-th order in the body of a request.
func dataOf(body []byte, i int) orders.Data {
	batch := struct{ Orders []orders.Data }{make([]orders.Data, 1)}
	if err := json.Unmarshal(body, &batch.Orders[0]); err != nil || batch.Orders[0] == (orders.Data{}) {
		_ = json.Unmarshal(body, &batch) // what is neither has no data
	}
	return batch.Orders[min(i, len(batch.Orders)-1)]
}

// created is a success that shows what was sent.
func created(ids ...int64) client.Answer {
	a := client.Answer{Status: 201}
	for _, id := range ids {
		a.Orders = append(a.Orders, client.Receipt{ID: id})
	}
	return a
}

func replayed(id int64) client.Answer {
	a := created(id)
	a.Replayed = true
	return a
}

// in5ms takes everything in five milliseconds.
func in5ms(*api, string, int) (client.Answer, time.Duration) { return created(1), 5 * time.Millisecond }

type outcome struct {
	api    *api
	ledger *ledger.Ledger
	snap   measure.Snapshot
	post   *measure.Histogram
	took   time.Duration
}

// carryOut carries a plan out in a bubble with its own clock, in which waiting takes no time.
func carryOut(t *testing.T, ctx context.Context, plan load.Plan, a *api) outcome { //nolint:revive // the test comes first
	t.Helper()
	plan.Keys = orders.Keys{Run: "r"}
	plan.Bulk = max(1, plan.Bulk)
	if plan.Retry == (load.Retry{}) {
		plan.Retry = load.Retry{For: time.Minute, Base: 50 * time.Millisecond, Max: 5 * time.Second}
	}
	start := time.Now()
	recorder := measure.NewRecorder(start)
	l := ledger.New(start, plan.Bulk)
	g := &load.Generator{
		Plan: plan, NewPoster: func() load.Poster { return a }, Ledger: l, Recorder: recorder, Log: slog.New(slog.DiscardHandler),
		Wait: func(ctx context.Context, until time.Time) bool {
			select {
			case <-time.After(time.Until(until)):
				return true
			case <-ctx.Done():
				return false
			}
		},
	}
	g.Run(ctx, start)
	return outcome{api: a, ledger: l, snap: recorder.Snapshot(time.Now()), post: recorder.Post(), took: time.Since(start)}
}

func open(rate float64, d time.Duration) load.Plan {
	p := arrivals.Constant(rate, d)
	return load.Plan{Schedule: arrivals.NewSchedule(p, 1), Peak: rate, MaxInFlight: 1000, MaxLate: 10 * time.Second}
}

// stalling answers in 5 ms, but nothing at all from 5 s to 7 s.
func stalling(a *api, _ string, _ int) (client.Answer, time.Duration) {
	if age := time.Since(a.start); age >= 5*time.Second && age < 7*time.Second {
		return created(1), 7*time.Second - age + 5*time.Millisecond
	}
	return created(1), 5 * time.Millisecond
}

// A server that stalls is sent less by the closed model, which so hides the stall; customers keep coming.
func TestOpenModelShowsTheStallThatTheClosedOneHides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := carryOut(t, t.Context(), open(100, 20*time.Second), newAPI(stalling))
		// 200 of 2,000 came during the stall and waited a second on average.
		if p := o.post.Percentile(99); p < 1700*time.Millisecond || p > 2*time.Second {
			t.Errorf("open: p99 %s", p)
		}
		c := carryOut(t, t.Context(), load.Plan{Workers: 10, Duration: 20 * time.Second}, newAPI(stalling))
		if p := c.post.Percentile(99); p > 10*time.Millisecond {
			t.Errorf("closed: p99 %s", p)
		}
		for name, x := range map[string]outcome{"open": o, "closed": c} {
			if len(x.snap.Stalls) != 1 || x.snap.Stalls[0].For < 1990*time.Millisecond || x.snap.Stalls[0].For > 2010*time.Millisecond {
				t.Errorf("%s: stalls %v", name, x.snap.Stalls)
			}
		}
	})
}

func TestOpenModelSendsWhatIsDue(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{10, 100, 1000, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			o := carryOut(t, t.Context(), open(rate, 2*time.Second), newAPI(in5ms))
			if total := &o.snap.Totals; total.Due != int64(2*rate) || total.Accepted != int64(2*rate) || total.Late != 0 || total.Dropped != 0 {
				t.Errorf("%g/s: %+v", rate, total)
			}
			if o.snap.LastSent != o.snap.LastDue || o.post.Max() > 10*time.Millisecond { // the first few wait for their worker to start
				t.Errorf("%g/s: the last was sent at %s, due at %s; slowest %s", rate, o.snap.LastSent, o.snap.LastDue, o.post.Max())
			}
		})
	}
}

func TestOpenModelBoundsWhatIsUnderWayAndDropsWhatIsTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := open(1000, 10*time.Second)
		plan.MaxInFlight, plan.MaxLate = 10, time.Second
		// Ten at a time, 50 ms each: 200 of 1,000 a second.
		o := carryOut(t, t.Context(), plan, newAPI(func(*api, string, int) (client.Answer, time.Duration) { return created(1), 50 * time.Millisecond }))
		total := &o.snap.Totals
		if o.api.most != 10 {
			t.Errorf("%d under way at most", o.api.most)
		}
		if total.Due != 10_000 || total.Accepted+total.Dropped != total.Due {
			t.Errorf("%+v", total)
		}
		if total.Accepted < 2000 || total.Accepted > 2300 || total.Late < 1900 || total.MaxLate > 1000 {
			t.Errorf("accepted %d, late %d by at most %.0f ms", total.Accepted, total.Late, total.MaxLate)
		}
	})
}

// An outage is a stall too; pauses that the api asks for are none.
func TestOutagesAreStallsAndPausesAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := func(a *api, _ string, _ int) (client.Answer, time.Duration) {
			if age := time.Since(a.start); age > 2*time.Second && age < 5*time.Second {
				return client.Answer{Failure: client.Connect}, 0
			}
			return created(1), 5 * time.Millisecond
		}
		plan := open(100, 10*time.Second)
		plan.Retry = load.Retry{For: time.Minute, Base: 10 * time.Millisecond, Max: 20 * time.Millisecond}
		if s := carryOut(t, t.Context(), plan, newAPI(away)).snap.Stalls; len(s) != 1 || s[0].At < 2*time.Second || s[0].At > 2020*time.Millisecond || s[0].For < 2980*time.Millisecond || s[0].For > 3030*time.Millisecond {
			t.Errorf("an outage from 2 s to 5 s: %v", s)
		}
		busy := func(_ *api, _ string, try int) (client.Answer, time.Duration) {
			if try == 1 {
				return client.Answer{Status: 503, RetryAfter: 2 * time.Second}, 5 * time.Millisecond
			}
			return created(1), 5 * time.Millisecond
		}
		if s := carryOut(t, t.Context(), load.Plan{Workers: 5, Limit: 20}, newAPI(busy)).snap.Stalls; len(s) != 0 {
			t.Errorf("everybody is told to wait: %v", s)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := func(_ *api, _ string, try int) (client.Answer, time.Duration) {
			if try <= 2 {
				return client.Answer{Status: 503, RetryAfter: 3 * time.Second}, time.Millisecond
			}
			return created(1), time.Millisecond
		}
		o := carryOut(t, t.Context(), load.Plan{Workers: 5, Limit: 20}, newAPI(busy))
		for key, at := range o.api.tries {
			if len(at) != 3 || at[1].Sub(at[0]) < 3*time.Second || at[2].Sub(at[1]) < 3*time.Second || at[2].Sub(at[0]) > 6300*time.Millisecond {
				t.Errorf("%s was tried at %v", key, at)
			}
		}
		total := &o.snap.Totals
		if total.RetryAfter != 40 || total.Status[503] != 40 || total.Status[201] != 20 || total.Retries != 40 || total.Failed != 40 || total.Accepted != 20 {
			t.Errorf("%+v", total)
		}
	})
}

func TestALostAnswerIsCountedOnceAndItsCauseNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := carryOut(t, t.Context(), load.Plan{Workers: 3, Limit: 30}, newAPI(func(_ *api, _ string, try int) (client.Answer, time.Duration) {
			switch try {
			case 1:
				return client.Answer{Failure: client.Reset}, time.Millisecond
			case 2:
				return client.Answer{Failure: client.Connect}, time.Millisecond
			}
			return replayed(7), time.Millisecond
		}))
		total := &o.snap.Totals
		if total.Accepted != 30 || total.Replayed != 30 || total.Unheard["reset"] != 30 || total.Failures["reset"] != 30 || total.Failures["connect"] != 30 {
			t.Errorf("%+v", total)
		}
	})
}

func TestWhatIsNeverAnsweredIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := load.Plan{Workers: 4, Limit: 8, Retry: load.Retry{For: 10 * time.Second, Base: 50 * time.Millisecond, Max: time.Second}}
		o := carryOut(t, t.Context(), plan, newAPI(func(*api, string, int) (client.Answer, time.Duration) {
			return client.Answer{Failure: client.Timeout}, 100 * time.Millisecond
		}))
		if total := &o.snap.Totals; total.Unknown != 8 || total.Accepted != 0 || o.took > 23*time.Second || o.took < 16*time.Second {
			t.Errorf("%d unknown in %s", total.Unknown, o.took)
		}
		for n := range 8 {
			if o.ledger.State(n) != ledger.Sent {
				t.Errorf("order %d: %v", n, o.ledger.State(n))
			}
		}
	})
}

func TestARefusedOrderIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := carryOut(t, t.Context(), load.Plan{Workers: 2, Limit: 10}, newAPI(func(*api, string, int) (client.Answer, time.Duration) {
			return client.Answer{Status: 422}, time.Millisecond
		}))
		if total := &o.snap.Totals; total.Refused != 10 || total.Tries != 10 || total.Failed != 10 || o.ledger.State(3) != ledger.Refused {
			t.Errorf("%+v", total)
		}
	})
}

// The first signal ends the sending: what is under way is waited for, what waits for a retry is given up, nothing new is begun.
func TestInterruptionEndsTheSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		o := carryOut(t, ctx, open(100, time.Minute), newAPI(func(_ *api, key string, _ int) (client.Answer, time.Duration) {
			if key == "r-0-000000100" {
				return client.Answer{Status: 503, RetryAfter: 30 * time.Second}, time.Millisecond
			}
			return created(1), 200 * time.Millisecond
		}))
		total := &o.snap.Totals
		if o.took > 3201*time.Millisecond || total.Sent < 300 || total.Sent > 301 || total.Accepted != total.Sent-1 || total.Unknown != 1 {
			t.Errorf("in %s: %+v", o.took, total)
		}
	})
}

func TestSharesAreKeptAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := load.Plan{
			Workers: 10, Limit: 2000, Mix: orders.Mix{Seed: 9, Poison: 0.1, Duplicate: 0.1},
		}
		answer := func(_ *api, key string, try int) (client.Answer, time.Duration) {
			if key[4] == 'x' {
				return client.Answer{Status: 422}, time.Millisecond
			}
			if try > 1 {
				return replayed(int64(len(key))), time.Millisecond
			}
			return created(int64(len(key))), time.Millisecond
		}
		a, b := carryOut(t, t.Context(), plan, newAPI(answer)), carryOut(t, t.Context(), plan, newAPI(answer))
		total := &a.snap.Totals
		if total.Accepted != 2000 || total.Failed != 0 || total.WronglyAnswered() != 0 {
			t.Errorf("%+v", total)
		}
		for kind, share := range map[string]float64{"poison": 0.1, "duplicate": 0.1} {
			s := total.Wrong[kind]
			if got := float64(s.Sent) / float64(total.Requests); got < share*0.8 || got > share*1.2 || s.Expected != s.Sent {
				t.Errorf("%s: %+v of %d requests", kind, s, total.Requests)
			}
		}
		if len(a.api.body) != len(b.api.body) {
			t.Errorf("%d keys, the second time %d", len(a.api.body), len(b.api.body))
		}
		for key, body := range a.api.body {
			if b.api.body[key] != body {
				t.Errorf("%s: %s, the second time %s", key, body, b.api.body[key])
			}
		}
	})
}

func TestInvalidOrdersThatAreAcceptedAreFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := carryOut(t, t.Context(), load.Plan{Workers: 1, Limit: 100, Mix: orders.Mix{Seed: 2, Poison: 0.2}}, newAPI(in5ms))
		s := o.snap.Totals.Wrong["poison"]
		if s.Sent == 0 || s.Wrong != s.Sent || len(o.snap.Totals.WrongExamples) == 0 {
			t.Errorf("%+v %q", s, o.snap.Totals.WrongExamples)
		}
	})
}

// What must be refused must be refused with a status that says why: an error of the server's own is none, and silence is a fault too.
func TestOnlyARefusalIsARefusal(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]measure.Special{
		422: {Expected: 1}, 413: {Expected: 1}, 400: {Expected: 1}, 302: {Wrong: 1}, 401: {Wrong: 1}, 500: {Wrong: 1}, 503: {Unheard: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(func(_ *api, key string, _ int) (client.Answer, time.Duration) {
				if key[4] == 'x' {
					return client.Answer{Status: status}, time.Millisecond
				}
				return created(1), time.Millisecond
			})
			plan := load.Plan{Workers: 20, Limit: 200, Mix: orders.Mix{Seed: 9, Poison: 0.1}, Retry: load.Retry{For: 3 * time.Second, Base: time.Second, Max: time.Second}}
			got := carryOut(t, t.Context(), plan, a).snap.Totals.Wrong["poison"]
			if got.Sent == 0 || got != (measure.Special{Sent: got.Sent, Expected: want.Expected * got.Sent, Wrong: want.Wrong * got.Sent, Unheard: want.Unheard * got.Sent}) {
				t.Errorf("answered %d: %+v", status, got)
			}
		})
	}
}

// A duplicate's wrong answer is counted also when it comes before the first answer.
func TestADuplicateThatOvertakesIsHeldAgainstTheFirstAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := carryOut(t, t.Context(), load.Plan{Workers: 4, Limit: 200, Mix: orders.Mix{Seed: 3, Duplicate: 0.1}}, newAPI(func(_ *api, _ string, try int) (client.Answer, time.Duration) {
			if try > 1 {
				return created(2), time.Millisecond
			}
			return created(1), 50 * time.Millisecond
		}))
		s := o.snap.Totals.Wrong["duplicate"]
		if n := int64(len(o.ledger.Conflicts())); n == 0 || s.Wrong != n || s.Expected+s.Wrong != s.Sent {
			t.Errorf("%+v, %d conflicts", s, n)
		}
	})
}

// Where duplicates are sent, nobody can tell whose answer was replayed: the first try's or the duplicate's.
func TestNoCauseIsNamedWhereDuplicatesAreSent(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]int64{0: 100, 0.5: 0} {
		synctest.Test(t, func(t *testing.T) {
			plan := load.Plan{Workers: 4, Limit: 100, Mix: orders.Mix{Seed: 3, Duplicate: share}}
			o := carryOut(t, t.Context(), plan, newAPI(func(_ *api, _ string, try int) (client.Answer, time.Duration) {
				if try == 1 {
					return client.Answer{Failure: client.Reset}, 10 * time.Millisecond
				}
				return replayed(7), time.Millisecond
			}))
			if got := o.snap.Totals.Unheard["reset"]; got != want {
				t.Errorf("%d causes named of 100, with a share of %g", got, share)
			}
		})
	}
}

// Each way in which a success breaks the contract is counted.
func TestSuccessesThatBreakTheContractAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]client.Answer{
			"r-0-000000003": {Status: 201}, "r-0-000000004": {Status: 204}, "r-0-000000005": {Status: 200, Orders: []client.Receipt{{ID: 5}}},
			"r-0-000000006": {Status: 201, Orders: []client.Receipt{{ID: 6, Data: orders.Of(7)}}},
		}
		o := carryOut(t, t.Context(), load.Plan{Workers: 1, Limit: 10}, newAPI(func(_ *api, key string, _ int) (client.Answer, time.Duration) {
			if a, ok := answers[key]; ok {
				return a, time.Millisecond
			}
			return created(1), time.Millisecond
		}))
		total := &o.snap.Totals
		if total.Accepted != 10 || total.Broken[measure.NoID] != 2 || total.Broken[measure.Not201] != 2 || total.Broken[measure.Altered] != 1 || len(total.BrokenExamples) != 5 {
			t.Errorf("%+v", total)
		}
	})
}

// A pause that an interruption cut short was not waited out.
func TestAPauseCountsWhenItIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		plan := load.Plan{Workers: 1, Limit: 1, Retry: load.Retry{For: 24 * time.Hour, Base: time.Second, Max: time.Second}}
		o := carryOut(t, ctx, plan, newAPI(func(*api, string, int) (client.Answer, time.Duration) {
			return client.Answer{Status: 503, RetryAfter: 20 * time.Hour}, time.Millisecond
		}))
		if total := &o.snap.Totals; total.RetryAfter != 0 || total.RetryAfterMillis != 0 {
			t.Errorf("%+v", total)
		}
	})
}

// Whatever the number of workers and the size of batches, exactly the orders 0 to n-1 are sent, each once, under keys that a second run makes again.
func TestEveryOrderIsSentOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n, bulk, workers := rapid.IntRange(1, 300).Draw(rt, "orders"), rapid.IntRange(1, 40).Draw(rt, "bulk"), rapid.IntRange(1, 30).Draw(rt, "workers")
		isOpen := rapid.Bool().Draw(rt, "open")
		var keys []string
		synctest.Test(t, func(t *testing.T) {
			plan := load.Plan{Workers: workers}
			if isOpen {
				plan = open(500, 0)
				plan.Schedule = arrivals.NewSchedule(arrivals.Constant(500, 0), bulk)
			}
			plan.Limit, plan.Bulk = n, bulk
			o := carryOut(t, t.Context(), plan, newAPI(in5ms))
			for key := range o.api.tries {
				keys = append(keys, key)
			}
			if o.ledger.Len() != n || o.snap.Totals.Accepted != int64(n) {
				t.Errorf("%d orders of %d: %+v", o.ledger.Len(), n, o.snap.Totals)
			}
			for i := range n {
				if o.ledger.State(i) != ledger.Accepted {
					t.Errorf("order %d: %v", i, o.ledger.State(i))
				}
			}
		})
		slices.Sort(keys)
		for i, key := range keys {
			if want := (orders.Keys{Run: "r"}).String(i*bulk, 1); key != want {
				rt.Fatalf("request %d has key %s, not %s", i, key, want)
			}
		}
	})
}
