package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/worker"
)

// breaking are settings with a breaker that is quick to probe. Polling and visibility timeouts take minutes: nothing may wait for them.
func breaking(id string) worker.Settings {
	s := settings()
	s.ID = id
	s.MaxAttempts = 20
	s.Breaker = gating.Breaker{Share: 0.5, Least: 10, ProbeFirst: 50 * time.Millisecond, ProbeMost: 200 * time.Millisecond}
	return s
}

// most is how many results a window of breaking's holds: the attempts that may be counted at each consumer until the breaker opens.
const most = 20

// fleet starts n consumers.
func (b *bundle) fleet(n int, h handler.Handler, change ...func(*worker.Settings)) []*running {
	b.t.Helper()
	all := make([]*running, n)
	for i := range all {
		s := breaking(fmt.Sprint("consumer ", i+1))
		for _, c := range change {
			c(&s)
		}
		all[i] = b.start(s, h)
	}
	return all
}

// load publishes some orders, again and again, until stopped.
func (b *bundle) load(n int, each time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var publisher sync.WaitGroup
	publisher.Go(func() {
		ticker := time.NewTicker(each)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				b.Publish(n)
			case <-ctx.Done():
				return
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); publisher.Wait() }) }
	b.t.Cleanup(stop)
	return stop
}

// allOpen waits until every consumer knows that the breaker is open, and nothing is at work any more but a probe.
func (b *bundle) allOpen(r *receiver, all []*running) {
	b.t.Helper()
	await.True(b.t, "every consumer knows that the breaker is open", func() bool {
		for _, c := range all {
			if c.metric("breaker_open") != 1 {
				return false
			}
		}
		return true
	})
	// A handler that is on its way to the receiver has a lease, too.
	await.True(b.t, "what ran has ended", func() bool {
		held := 0.0
		for _, c := range all {
			held += c.metric("leases_held")
		}
		return held <= 1 && r.busy() <= 1
	})
}

func (b *bundle) failedProbes(all []*running) (n float64) {
	for _, c := range all {
		n += c.probes("failed")
	}
	return n
}

func (r *running) probes(result string) float64 {
	return counter(r.t, r.metrics.Registry, "orderflow_consumer_breaker_probes_total", result)
}

// uncounted checks that the orders' attempts are one each, but for those that were counted before the breaker opened.
func (b *bundle) uncounted(allowed int) {
	b.t.Helper()
	if more := dbtest.One[int](b.DB, `select coalesce(sum(attempts - 1), 0) from public.orders where attempts > 1`); more > allowed {
		b.t.Errorf("%d attempts were counted beyond the orders' first ones, where %d may be", more, allowed)
	}
	if a := b.Audit(); a.Dead != 0 || a.Letters != 0 {
		b.t.Errorf("%+v", a)
	}
}

// The receiver goes away under load, and comes back. Nothing is buried, no attempt is counted but those that show that it is away; it is probed
// with one order at a time; and when it is back all is done, without a stampede.
func TestAnOutageOfWhatIsCalledCostsNoAttempt(t *testing.T) {
	for name, away := range map[string]int{"down": http.StatusBadGateway, "letting nobody in": http.StatusUnauthorized} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			r := newReceiver(t)
			all := b.fleet(3, r.handler())
			stop := b.load(10, 50*time.Millisecond)
			await.True(t, "it is in use", func() bool { return r.count() > 400 })
			const normal = 200
			r.answer(away)
			b.allOpen(r, all)
			holds := func() int { // leases last for two minutes here, and retries are due at once
				return dbtest.One[int](b.DB, `select count(*) from pgmq.q_order_queue where vt > clock_timestamp() + interval '30 seconds'`)
			}
			await.True(t, "how all attempts ended has been written", func() bool { return holds() <= 1 })
			counted := func() int { return dbtest.One[int](b.DB, `select sum(attempts) from public.orders`) }
			seen, attempts, failed := r.count(), counted(), b.failedProbes(all)
			await.True(t, "probes fail", func() bool { return b.failedProbes(all) >= failed+8 })
			if n := counted(); n != attempts {
				t.Errorf("%d attempts were counted while the breaker was open", n-attempts)
			}
			for _, c := range r.since(seen) {
				if c.current > 1 {
					t.Fatalf("%d calls at a time while the breaker is open", c.current)
				}
			}
			if held := holds(); held > 1 {
				t.Errorf("%d leases are held while the breaker is open", held)
			}
			b.uncounted(3 * most)
			await.True(t, "there is a backlog", func() bool { return b.Audit().Queued > 500 })

			back := time.Now()
			r.answer(http.StatusOK)
			first := r.count()
			await.True(t, "it gets more than its normal rate: the backlog shrinks", func() bool {
				return len(r.since(first)) > 10*normal
			})
			stop()
			await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
			// Over five seconds: what a machine that is late for one sends all at once is no stampede.
			const window = 5
			calls := map[int]int{}
			for _, c := range r.since(first) {
				calls[int(c.at.Sub(back)/(window*time.Second))]++
			}
			for i, n := range calls {
				if n > 2*normal*window {
					t.Errorf("%d calls in the %d seconds from second %d after its return, where %d a second are normal", n, window, i*window, normal)
				}
			}
			b.uncounted(3 * most)
			if openings := all[0].metric("breaker_openings_total"); openings != 1 {
				t.Errorf("%v openings", openings)
			}
		})
	}
}

// One consumer has an old secret, and the others work: it stops itself, and nobody else.
func TestAConsumerThatFailsAloneOpensOnlyItsOwnBreaker(t *testing.T) {
	b := setup(t)
	var old, calls atomic.Int64
	old.Store(1)
	fine := handle(func(context.Context, message.Message) error { return nil })
	all := b.fleet(2, fine)
	wrong := b.start(breaking("wrong"), handle(func(context.Context, message.Message) error {
		calls.Add(1)
		if old.Load() == 1 {
			return handler.Unavailable(errors.New("answered 401 Unauthorized"))
		}
		return nil
	}))
	stop := b.load(20, 50*time.Millisecond)
	await.True(t, "it has stopped itself", func() bool { return wrong.metric("own_breaker_open") == 1 })
	await.True(t, "the others work", func() bool { return all[0].metric("breaker_open") == 0 && wrong.metric("breaker_open") == 0 })
	ok, why := wrong.Ready()
	if !ok || !strings.Contains(why, "the breaker of this consumer alone is open since") || !strings.Contains(why, "401") {
		t.Errorf("ready %t: %s", ok, why)
	}
	await.True(t, "nothing waits at it", func() bool { return wrong.metric("leases_held") <= 1 })
	opened := func() (times float64) { // who hears late of an opening may find it over
		for _, c := range append(all, wrong) {
			times = max(times, c.metric("breaker_openings_total"))
		}
		return times
	}
	openings, done, failed := opened(), b.Audit().Completed, wrong.probes("failed")
	before := calls.Load() // after the probes: one that comes in between is counted, and its call is not
	await.True(t, "the others complete much, and it probes", func() bool { return b.Audit().Completed > done+500 && wrong.probes("failed") >= failed+4 })
	if n := opened(); n != openings {
		t.Errorf("the breaker of all has opened %v times more", n-openings)
	}
	if n, probes := calls.Load()-before, wrong.probes("failed")-failed; float64(n) > probes+1 {
		t.Errorf("it has called %d times, and probed %v times", n, probes)
	}
	old.Store(0)
	await.True(t, "it works again", func() bool { return wrong.metric("own_breaker_open") == 0 })
	before = calls.Load()
	await.True(t, "as the others do", func() bool { return calls.Load() > before+50 })
	stop()
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
	b.uncounted(int(openings) * 3 * most)
}

// Ten consumers probe with one order and not with ten, and with another one each time: one that can never work may be among them.
func TestTenConsumersProbeWithOneOrderAtATime(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answer(http.StatusServiceUnavailable)
	all := b.fleet(10, r.handler())
	b.Publish(300)
	b.allOpen(r, all)
	seen := r.count()
	await.True(t, "probes fail", func() bool { return b.failedProbes(all) >= 12 })
	calls := r.since(seen)
	for i, c := range calls {
		if c.current > 1 {
			t.Errorf("%d calls at a time", c.current)
		}
		if i > 0 && c.order == calls[i-1].order {
			t.Errorf("probe %d is of the order of the one before", i)
		}
	}
	for _, c := range all {
		ok, why := c.Ready()
		if !ok || !strings.Contains(why, "the breaker is open since") || !strings.Contains(why, "503") {
			t.Errorf("ready %t: %s", ok, why)
		}
	}
	r.answer(http.StatusOK)
	if a := b.settled(); a.Completed != 300 {
		t.Fatalf("%+v", a)
	}
	b.uncounted(10 * most)
}

// What the breaker hands back keeps its place: what was published first is worked on first.
func TestWhatIsHandedBackKeepsItsPlace(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answer(0)
	s := breaking("one")
	s.Prefetch, s.Batch, s.Concurrency = 90, 100, 10                     // there is room for the first hundred, and for none of the second
	s.Breaker.ProbeFirst, s.Breaker.ProbeMost = time.Minute, time.Minute // no probe comes between the hand-back and the look at it
	c := b.start(s, r.handler())
	begun := dbtest.One[time.Time](b.DB, `select clock_timestamp()`)
	b.Publish(200) // there is hardly any time between the first hundred and the second
	await.True(t, "ten are at work and the others wait", func() bool { return r.busy() == 10 && c.metric("leases_held") == 100 })
	// Somebody else finds out, and writing takes longer than that.
	held, err := testdb.Connect(t, b.URL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `lock table pgmq.q_order_queue in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	b.Exec(`insert into orderflow.gate (queue, revision, breaker_open, since, probe_at, reason) values ($1, 1, true, clock_timestamp(), clock_timestamp() + interval '1 minute', 'said so')`, dbtest.QueueName)
	b.Exec(`select pg_notify('orderflow_order_queue', 'gate')`)
	await.True(t, "what waited is about to be handed back", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%unanswered, until, delay%'`) > 0
	})
	if _, err := held.Exec(t.Context(), `select pg_sleep(extract(epoch from clock_timestamp() - $1))`, begun); err != nil {
		t.Fatal(err)
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.True(t, "what waited is handed back", func() bool { return c.metric("leases_held") == 10 })
	visible := dbtest.All[int64](b.DB, `select msg_id from pgmq.q_order_queue where vt <= clock_timestamp() order by vt, msg_id`)
	if len(visible) != 190 {
		t.Fatalf("%d are due", len(visible))
	}
	for i, id := range visible {
		if early := id <= 100; early != (i < 90) {
			t.Fatalf("message %d is number %d in line", id, i)
		}
	}
	c.drain()
	r.CloseClientConnections()
	_ = c.wait()
}

// The receiver answers, though later than anybody waits.
func TestASlowReceiverOpensTheBreaker(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answer(0)
	all := b.fleet(2, r.handler(), func(s *worker.Settings) { s.HandlerTimeout = 2 * time.Second })
	b.Publish(200)
	b.allOpen(r, all)
	// One at a time: all but the last have failed before the next. What the receiver sees under way says nothing, since it learns late that
	// a call has been given up.
	failed := func() int { return dbtest.One[int](b.DB, `select failures from orderflow.gate`) }
	before, seen := failed(), r.count()
	await.True(t, "probes fail", func() bool { return failed() >= before+3 })
	if calls, failures := r.count()-seen, failed()-before; calls > failures+1 {
		t.Errorf("%d calls for %d probes that failed", calls, failures)
	}
	r.answer(http.StatusOK)
	if a := b.settled(); a.Completed != 200 {
		t.Fatalf("%+v", a)
	}
	b.uncounted(2 * most)
}

// The receiver answers late, and then as quickly as before: what has piled up does not come all at once.
func TestAfterASlowTimeALimitHolds(t *testing.T) {
	b := setup(t)
	quick := make(chan struct{})
	close(quick)
	var mu sync.Mutex
	gates, answered := quick, 0 // calls are answered when the channel is closed
	slow := func(c chan struct{}) { mu.Lock(); gates = c; mu.Unlock() }
	count := func() int { mu.Lock(); defer mu.Unlock(); return answered }
	h := handle(func(ctx context.Context, _ message.Message) error {
		mu.Lock()
		c := gates
		mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		answered++
		return nil
	})
	c := b.fleet(1, h, func(s *worker.Settings) { s.Concurrency = 4 })[0]
	stop := b.load(10, 50*time.Millisecond)
	await.True(t, "what is normal is known", func() bool { return count() > 1500 })
	held := make(chan struct{})
	slow(held)
	await.True(t, "much piles up", func() bool { return b.Audit().Queued > 500 })
	close(held)
	await.True(t, "there is a limit, and readiness says so", func() bool {
		_, why := c.Ready()
		return c.metric("rate_limit") > 0 && strings.Contains(why, "orders a second, by all consumers together, until the backlog is worked off")
	})
	stop()
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
	await.True(t, "the limit is lifted", func() bool { return c.metric("rate_limit") == 0 })
	b.uncounted(0)
}

// A receiver that comes and goes is given up each time, and gets all in the end.
func TestAFlappingReceiverLosesNothing(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	calls := 0
	r.answerWith(func(*http.Request, int64) int { // under the receiver's lock
		if calls++; calls%100 >= 70 && calls < 400 {
			return http.StatusBadGateway
		}
		return http.StatusOK
	})
	all := b.fleet(2, r.handler())
	b.Publish(400)
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
	openings := all[0].metric("breaker_openings_total")
	if openings < 2 {
		t.Errorf("%v openings", openings)
	}
	b.uncounted(int(openings) * 2 * most)
}

// What is an order's own fault never opens the breaker.
func TestOrdersThatFailForThemselvesOpenNothing(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answerWith(func(_ *http.Request, order int64) int {
		if order%10 == 0 {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	c := b.fleet(1, r.handler(), func(s *worker.Settings) { s.MaxAttempts = 5 })[0]
	b.Publish(300)
	if a := b.settled(); a.Completed != 270 || a.Dead != 30 {
		t.Fatalf("%+v", a)
	}
	// Nor when there is nothing else.
	b.Exec(`update public.orders set id = id`)
	for range 20 {
		b.Send(`{"order_id": 10}`, nil)
	}
	await.True(t, "they are dead", func() bool { return b.Audit().Queued == 0 })
	if n := dbtest.One[int](b.DB, `select count(*) from orderflow.gate`); n != 0 || c.metric("breaker_openings_total") != 0 {
		t.Errorf("the gate has been touched: %d rows", n)
	}
}

// Who looks only at what has come back first sees failures alone: they are quick, and answers take their time.
func TestQuickFailuresAmongSlowAnswersOpenNothing(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	var calls sync.Map
	slow := handle(func(ctx context.Context, m message.Message) error {
		if _, again := calls.LoadOrStore(m.ID, true); !again && m.ID%5 == 0 {
			return handler.Unavailable(errors.New("no room for this one"))
		}
		select {
		case <-release:
			return r.handler().Handle(ctx, m)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s := breaking("one")
	s.Concurrency, s.Prefetch, s.Batch = 60, 100, 100
	c := b.start(s, slow)
	b.Publish(100)
	await.True(t, "all workers wait for an answer", func() bool { return c.metric("messages_in_flight") == 60 || c.metric("breaker_openings_total") > 0 })
	free()
	if a := b.settled(); a.Completed != 100 {
		t.Fatalf("%+v", a)
	}
	if n := c.metric("breaker_openings_total"); n != 0 {
		t.Errorf("%v openings", n)
	}
}

// The orders of one customer of ten are never answered in time. The others' are, and the breaker stays closed. (Each is tried once: when there is
// nothing left but such orders, it opens.)
func TestAReceiverThatIsSlowForOneCustomerOpensNothing(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answerWith(func(_ *http.Request, order int64) int {
		if order%10 == 0 {
			return 0
		}
		return http.StatusOK
	})
	c := b.fleet(1, r.handler(), func(s *worker.Settings) { s.HandlerTimeout, s.MaxAttempts = 2*time.Second, 1 })[0]
	b.Publish(200)
	if a := b.settled(); a.Completed+a.Dead != 200 || a.Dead < 20 {
		t.Fatalf("%+v", a)
	}
	if n := c.metric("breaker_openings_total"); n != 0 {
		t.Errorf("%v openings", n)
	}
}

// One order that the receiver never answers in time is buried in the end, and opens nothing.
func TestOneOrderThatTakesTooLongOpensNothing(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answerWith(func(_ *http.Request, order int64) int {
		if order == 1 {
			return 0
		}
		return http.StatusOK
	})
	c := b.fleet(1, r.handler(), func(s *worker.Settings) { s.HandlerTimeout, s.MaxAttempts = 20*time.Millisecond, 15 })[0]
	b.Publish(1)
	if a := b.settled(); a.Dead != 1 {
		t.Fatalf("%+v", a)
	}
	if o := b.Order(1); o.Attempts != 15 || c.metric("breaker_openings_total") != 0 {
		t.Errorf("%+v, %v openings", o, c.metric("breaker_openings_total"))
	}
}

// Whoever asks for patience gets it from all workers together, and no attempt is counted.
func TestAReceiverThatAsksForPatienceGetsIt(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	var full sync.Mutex
	tokens, last := 20.0, time.Now()
	limited := func(*http.Request, int64) int {
		full.Lock()
		defer full.Unlock()
		now := time.Now()
		tokens = min(tokens+now.Sub(last).Seconds()*100, 20)
		last = now
		if tokens < 1 {
			return http.StatusTooManyRequests
		}
		tokens--
		return http.StatusOK
	}
	r.answer(http.StatusTooManyRequests)
	all := b.fleet(2, r.handler(), func(s *worker.Settings) { s.MaxAttempts = 3 })
	b.Publish(400)
	patient := func(c *running) bool { return c.metric("rate_limit") > 0 || c.metric("breaker_open") == 1 } // it refuses all
	await.True(t, "all give it time", func() bool { return patient(all[0]) && patient(all[1]) })
	r.answerWith(limited)
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
	b.uncounted(0)
	refused := 0
	for _, c := range r.since(0) {
		if c.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused > 200 {
		t.Errorf("%d calls were refused on the way to 400", refused)
	}
}

// A consumer that starts while the breaker is open does not try for itself.
func TestAConsumerThatStartsWhileTheBreakerIsOpenStartsClosed(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	b.Exec(`insert into orderflow.gate (queue, revision, breaker_open, since, reason, probe_at, prober, probe_until)
		values ($1, 1, true, clock_timestamp(), 'said so', clock_timestamp(), 'somebody', clock_timestamp() + interval '1 hour')`, dbtest.QueueName)
	b.Publish(50)
	c := b.start(breaking("new"), r.handler())
	await.True(t, "it knows", func() bool { _, why := c.Ready(); return strings.Contains(why, "said so") })
	if n := r.count(); n != 0 {
		t.Fatalf("%d calls", n)
	}
	// The one that had the right to probe has died: the right passes on.
	b.Exec(`update orderflow.gate set probe_until = clock_timestamp()`)
	b.Exec(`select pg_notify('orderflow_order_queue', 'gate')`)
	await.True(t, "all orders are completed", func() bool { return b.Audit().Completed == 50 })
	if c.probes("answered") != 1 {
		t.Errorf("%v probes", c.probes("answered"))
	}
}

// The row may vanish or be nonsense at any time, and the database may go away: work goes on as the receiver lets it.
func TestTheBreakerSurvivesWhateverHappensToItsRow(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	proxy, address := b.proxied()
	c := b.startOn(address, breaking("proxied"), r.handler())
	other := b.fleet(1, r.handler())[0]
	all := []*running{c, other}
	r.answer(http.StatusBadGateway)
	stop := b.load(2, 20*time.Millisecond)
	random := rand.New(rand.NewPCG(1, 2))
	for _, disturb := range []func(){
		func() { b.Exec(`delete from orderflow.gate`) },
		func() {
			b.Exec(`update orderflow.gate set prober = 'nobody', probe_until = '2900-01-01', probe_at = '2900-01-01', failures = -7, revision = 0`)
		},
		func() {
			b.Exec(`update orderflow.gate set breaker_open = false, limit_base = 1e-9, limit_growth = 0, limit_at = '2900-01-01', tokens = 1e9, tokens_at = '2900-01-01'`)
		},
		func() {
			b.Exec(`update orderflow.gate set patience_until = clock_timestamp() + interval '1 second', breaker_open = false`)
		},
		func() { b.Exec(`truncate orderflow.gate`) },
		func() {
			proxy.Refuse()
			await.True(t, "the database is away", func() bool { ok, _ := c.Ready(); return !ok })
			proxy.Accept()
		},
	} {
		b.allOpen(r, all)
		for range random.IntN(3) {
			failed := b.failedProbes(all)
			await.True(t, "probes go on", func() bool { return b.failedProbes(all) > failed })
		}
		disturb()
		b.Exec(`select pg_notify('orderflow_order_queue', 'gate')`)
	}
	b.allOpen(r, all)
	failed := b.failedProbes(all)
	await.True(t, "probes go on", func() bool { return b.failedProbes(all) > failed })
	r.answer(http.StatusOK)
	stop()
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 })
	if a := b.Audit(); a.Dead != 0 || a.Duplicated != 0 {
		t.Fatalf("%+v", a)
	}
}

// One that has failed alone takes part in the outage of all: it may be the only one that is left to find out that it is over.
func TestAConsumerThatHasFailedAloneProbesForAll(t *testing.T) {
	b := setup(t)
	var old, down atomic.Bool
	old.Store(true)
	answers := func(refuses ...*atomic.Bool) handler.Handler {
		return handle(func(context.Context, message.Message) error {
			for _, r := range refuses {
				if r.Load() {
					return handler.Unavailable(errors.New("answered 503 Service Unavailable"))
				}
			}
			return nil
		})
	}
	other := b.fleet(1, answers(&down))[0]
	wrong := b.start(breaking("wrong"), answers(&old, &down))
	stop := b.load(20, 50*time.Millisecond)
	await.True(t, "it has stopped itself", func() bool { return wrong.metric("own_breaker_open") == 1 })
	await.True(t, "the other works", func() bool { return other.metric("breaker_open") == 0 })
	down.Store(true)
	await.True(t, "the breaker of all is open, and nobody's own", func() bool {
		return other.metric("breaker_open") == 1 && wrong.metric("breaker_open") == 1 && wrong.metric("own_breaker_open") == 0
	})
	other.stop()
	stop()
	failed := wrong.probes("failed")
	await.True(t, "it probes", func() bool { return wrong.probes("failed") > failed })
	down.Store(false)
	old.Store(false)
	await.True(t, "all orders are completed", func() bool { a := b.Audit(); return a.Queued == 0 && a.Pending == 0 && a.Dead == 0 })
}

// While the breaker is open and nothing is due there is nothing to probe with. Nobody tries all the time whether there is, and the first message that
// comes is a probe.
func TestWithNothingDueTheBreakerWaitsForAMessage(t *testing.T) {
	b := setup(t)
	b.Exec(`insert into orderflow.gate (queue, revision, breaker_open, since, reason, probe_at)
		values ($1, 1, true, clock_timestamp(), 'said so', clock_timestamp())`, dbtest.QueueName)
	c := b.start(breaking("alone"), noop)
	await.True(t, "it has found nothing to probe with", func() bool { return c.probes("unused") >= 1 })
	b.Exec(`select pgmq.create('other'), pgmq.create('other_dlq')`)
	often, address := b.proxied()
	s := settings()
	s.Queue, s.Poll = "other", 100*time.Millisecond
	b.startOn(address, s, noop) // the clock
	await.True(t, "another one has polled", func() bool { return often.Requests() >= 30 })
	b.Publish(1)
	if a := b.settled(); a.Completed != 1 {
		t.Errorf("%+v", a)
	}
	await.True(t, "that was a probe", func() bool { return c.probes("answered") == 1 }) // which is told after the ack
	if n := c.probes("unused"); n >= 5 {
		t.Errorf("it has found %v times that there is nothing to probe with", n)
	}
}

// Where the state cannot be shared, each consumer has a breaker of its own, and says so.
func TestWithoutItsRowEachConsumerHasABreakerOfItsOwn(t *testing.T) {
	for name, spoil := range map[string]string{
		"no table": `drop table orderflow.gate cascade`,
		"writes are suppressed": `create function swallow() returns trigger language plpgsql as $$ begin return null; end $$;
			create trigger swallow before insert or update on orderflow.gate for each row execute function swallow()`,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			r := newReceiver(t)
			b.Exec(spoil)
			r.answer(http.StatusBadGateway)
			c := b.start(breaking("alone"), r.handler())
			b.Publish(200)
			// It goes on for longer than the row is left alone after each failure to use it.
			await.True(t, "probes fail", func() bool { return c.probes("failed") >= 8 })
			if ok, why := c.Ready(); ok || !strings.Contains(why, "sharing the breaker's state is refused") {
				t.Errorf("ready %t: %s", ok, why)
			}
			r.answer(http.StatusOK)
			if a := b.settled(); a.Completed != 200 {
				t.Fatalf("%+v", a)
			}
			b.uncounted(most)
			if n := c.metric("breaker_openings_total"); n != 1 {
				t.Errorf("%v openings", n)
			}
		})
	}
}

// The breakers of two queues have nothing to do with each other.
func TestTheBreakersOfTwoQueuesDoNotMix(t *testing.T) {
	b := setup(t)
	one, two := newReceiver(t), newReceiver(t)
	b.Exec(`select pgmq.create('other'), pgmq.create('other_dlq')`)
	first := b.start(breaking("first"), one.handler())
	s := breaking("second")
	s.Queue = "other"
	one.answer(http.StatusBadGateway)
	b.Publish(100)
	b.allOpen(one, []*running{first})
	second := b.start(s, two.handler()) // it would ask before it begins
	b.Exec(`insert into public.orders (customer_name, product_name, quantity, price) select 'c', 'p', 1, 1 from generate_series(1, 100)`)
	b.Exec(`select pgmq.send('other', jsonb_build_object('order_id', id)) from public.orders where id > 100`)
	b.Exec(`update public.orders o set message_id = q.msg_id from pgmq.q_other q where (q.message->>'order_id')::bigint = o.id`)
	b.Exec(`select pg_notify('orderflow_other', '')`)
	await.True(t, "the other queue is worked off", func() bool { return b.Audit().Completed == 100 })
	if second.metric("breaker_open") != 0 || second.metric("breaker_openings_total") != 0 {
		t.Error("the breaker of the other queue has opened")
	}
	one.answer(http.StatusOK)
	if a := b.settled(); a.Completed != 200 {
		t.Fatalf("%+v", a)
	}
}

// An operator stops the queue: what runs finishes and counts, nothing else begins, not at one that starts meanwhile either.
func TestAPausedQueueIsNotWorkedOn(t *testing.T) {
	b := setup(t)
	started, goOn := make(chan int64, 100), make(chan struct{})
	var n tries
	h := handle(func(_ context.Context, m message.Message) error {
		n.note(m)
		started <- m.ID
		<-goOn
		return nil
	})
	s := breaking("here")
	s.Concurrency, s.Prefetch = 2, 20
	c := b.start(s, h)
	b.Publish(12)
	await.Value(t, "one starts", started)
	await.Value(t, "another starts", started)
	await.True(t, "the others wait", func() bool { return c.metric("leases_held") == 12 })
	b.Exec(`select orderflow.pause($1, 'the tests', 'the warehouse moves')`, dbtest.QueueName)
	await.True(t, "it says so", func() bool {
		_, why := c.Ready()
		return strings.Contains(why, "paused since") && strings.Contains(why, "the tests: the warehouse moves")
	})
	await.True(t, "what waited is handed back", func() bool { return c.metric("leases_held") == 2 })
	close(goOn)
	await.True(t, "what ran is done", func() bool { return b.Audit().Completed == 2 })
	other := b.start(breaking("there"), h)
	await.True(t, "one that starts knows", func() bool { _, why := other.Ready(); return strings.Contains(why, "paused since") })
	if n.total() != 2 || c.metric("paused") != 1 {
		t.Fatalf("%d were worked on", n.total())
	}
	b.Exec(`select orderflow.resume($1)`, dbtest.QueueName)
	if a := b.settled(); a.Completed != 12 {
		t.Fatalf("%+v", a)
	}
	if got := dbtest.One[int](b.DB, `select max(attempts) from public.orders`); got != 1 {
		t.Errorf("%d attempts", got)
	}
}

// Whoever is idle learns of a pause by its notification, and where that was lost by the next look.
func TestAnIdleConsumerLearnsOfAPause(t *testing.T) {
	for name, test := range map[string]struct {
		poll  time.Duration
		pause string
	}{
		"by its notification": {time.Hour, `select orderflow.pause('order_queue', 'the tests', '')`},
		"by a look": {100 * time.Millisecond, `insert into orderflow.gate (queue, revision, paused_at, paused_by)
			values ('order_queue', 1, clock_timestamp(), 'the tests')`},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			s := breaking("idle")
			s.Poll = test.poll
			c := b.start(s, noop)
			if test.poll == time.Hour {
				b.idle()
			} else {
				await.True(t, "it looks", func() bool { return c.metric("listener_up") == 1 && c.metric("fetch_batch_size") > 0 })
			}
			b.Exec(test.pause)
			await.True(t, "it says so", func() bool { _, why := c.Ready(); return strings.Contains(why, "paused since") })
			c.stop()
		})
	}
}

// What a user's function in the database does for longer than allowed is a sign like any other's; what it refuses is the order's own fault.
func TestAFunctionThatTakesTooLongOpensTheBreaker(t *testing.T) {
	b := setup(t)
	b.Exec(`create schema flag; create table flag.slow (is_slow boolean)`)
	f := b.shop(shipOne, `if exists (select from flag.slow) then perform pg_sleep(60); end if;
		if o.id % 10 = 0 then raise exception 'not this one' using errcode = 'SH001'; end if;`)
	s := breaking("sql")
	s.AckWorkLanes, s.HandlerTimeout, s.MaxAttempts = 3, 2*time.Second, 5
	c := b.start(s, f)
	b.Publish(100)
	if a := b.settled(); a.Completed != 90 || a.Dead != 10 {
		t.Fatalf("%+v", a)
	}
	if n := c.metric("breaker_openings_total"); n != 0 {
		t.Errorf("%v openings for what is the orders' own fault", n)
	}
	b.Exec(`insert into flag.slow values (true)`)
	b.Publish(100)
	await.True(t, "probes fail", func() bool { return c.probes("failed") >= 3 })
	await.True(t, "what had been begun has ended, and no leases are held", func() bool { return c.metric("leases_held") <= 1 })
	if a := b.Audit(); a.Dead != 10 {
		t.Errorf("%+v", a)
	}
	b.Exec(`truncate flag.slow`)
	if a := b.settled(); a.Completed != 180 || a.Dead != 20 {
		t.Fatalf("%+v", a)
	}
	b.shipped()
}

// A probe whose read was lost with its connection has found out nothing. It is repeated, though nobody polls, nobody notifies, and what has
// failed comes much later.
func TestAProbeThatWasNotReadIsRepeated(t *testing.T) {
	b := setup(t)
	r := newReceiver(t)
	r.answer(http.StatusBadGateway)
	proxy, address := b.proxied()
	s := breaking("alone")
	s.Backoff = backoff.Policy{Base: time.Hour, Max: time.Hour, Multiplier: 1}
	s.Poll = time.Hour
	s.Breaker.ProbeFirst, s.Breaker.ProbeMost = 3*time.Second, 3*time.Second // meanwhile there is nothing new to report, which would be a look, too
	c := b.startOn(address, s, r.handler())
	b.Publish(200)
	b.allOpen(r, []*running{c})
	failed := c.probes("failed")
	await.True(t, "it is probed", func() bool { return c.probes("failed") > failed })
	<-proxy.Trap(named("fetch"), pgproxy.Unsent, func() { r.answer(http.StatusOK) })
	await.True(t, "the breaker is closed", func() bool { return c.metric("breaker_open") == 0 })
	c.stop()
}
