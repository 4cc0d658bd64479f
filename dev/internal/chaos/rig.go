package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/patroni"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/pgproxy"
	address "orderflow.example/kit/postgres"
)

// Rig is one fault's system: a database of its own, its services, its load, and what was observed.
type Rig struct {
	suite *Suite
	fault Fault
	plan  Plan
	rand  *mathrand.Rand // for the fault's own goroutine

	server      *postgres.Server // the fault's own, or nil
	group       *postgres.Group  // with standbys, likewise
	managed     *patroni.Cluster // by Patroni, likewise
	serverURL   string
	databaseURL string
	database    string
	skew        time.Duration // how far the database's clock is ahead of ours

	stack     *stack.Stack
	api       *stack.Node
	consumers []*stack.Node
	receiver  *stack.Node // of webhooks; nil with another handler
	usually   string      // the faults that it has been ordered to have while nothing is wrong: the work itself
	proxies   []*pgproxy.Proxy
	pooler    *pgbouncer.Pooler             // that everything goes through, or nil
	expected  map[*stack.Node]*proc.Process // processes that nobody was meant to end

	loadgen  *stack.Load
	prober   *prober
	probers  int // so far
	lag      *lag
	loadEnds time.Time // when the load generator is to have sent everything
	causeAt  time.Time // the cause's end

	result   Result
	failures failures // that the consumers have logged
	starts   starts   // of handlers, likewise

	mu    sync.Mutex
	lines []string // warnings and errors of the services
}

const keptLines = 60

func newRig(ctx context.Context, s *Suite, f Fault) (*Rig, error) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(f.Name))
	r := &Rig{
		suite: s, fault: f, plan: s.Plan, rand: mathrand.New(mathrand.NewPCG(s.Plan.Seed, hash.Sum64())), //nolint:gosec // repeatable on purpose
		serverURL: s.ServerURL, expected: map[*stack.Node]*proc.Process{},
	}
	if f.OwnServer {
		return r, nil // Up starts it, with the fault's own settings
	}
	r.database = "chaos_" + strings.ReplaceAll(f.Name, "-", "_") + "_" + strings.ToLower(rand.Text()[:6])
	databaseURL, err := stack.CreateDatabase(ctx, s.ServerURL, r.database, s.Template)
	if err != nil {
		return nil, err
	}
	r.databaseURL = databaseURL
	return r, nil
}

// ownServer starts the fault's own Postgres, with the settings and the environment that with has. Its database is migrated by the api at its start.
func (r *Rig) ownServer(ctx context.Context, with postgres.Options) error {
	with.Session, with.From, with.MaxConnections = r.suite.Session, r.suite.PostgresFrom, 200
	server, err := postgres.Open(ctx, with)
	if err != nil {
		return err
	}
	r.server, r.serverURL, r.databaseURL = server, server.URL(), server.URL()
	return nil
}

// settings of the services under test.
type settings struct {
	consumers int
	api       []string
	consumer  []string
	// proxied puts a proxy of its own before the database of: "api", "consumers".
	proxied string
}

// up starts the services and waits until they are ready.
func (r *Rig) up(ctx context.Context, with settings) error {
	if r.fault.OwnServer && r.databaseURL == "" {
		if err := r.ownServer(ctx, postgres.Options{}); err != nil {
			return err
		}
	}
	r.stack = stack.New(stack.Options{
		Session: r.suite.Session, Binaries: r.suite.Binaries, DatabaseURL: r.databaseURL,
		Env: []string{"LOG_FORMAT=json", "LOG_LEVEL=" + r.suite.logLevel()}, Lines: r.line,
	})
	apiEnv := with.api
	if with.proxied == "api" {
		through, err := r.proxy()
		if err != nil {
			return err
		}
		apiEnv = append(apiEnv, "DATABASE_URL="+through)
	}
	ready, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	var err error
	if r.api, err = r.stack.StartAPI(ready, "api", apiEnv...); err != nil {
		return err
	}
	r.expect(r.api)
	if r.lag, err = startLag(ctx); err != nil {
		return err
	}
	if err := r.startHandler(ready, with.consumer); err != nil {
		return err
	}
	for range with.consumers {
		env := with.consumer
		if with.proxied == "consumers" {
			through, err := r.proxy()
			if err != nil {
				return err
			}
			env = append([]string{"DATABASE_URL=" + through}, env...)
		}
		if err := r.addConsumer(ready, env...); err != nil {
			return err
		}
	}
	return nil
}

// work is the consumers' setting for most faults: an order takes long enough that there always are some under way, short enough for
// the rate, and does not fail by itself.
func (r *Rig) work(more ...string) []string {
	return append([]string{
		"SIMULATE_WORK=150ms", "SIMULATE_FAILURES=none", "VT=" + strconv.Itoa(r.vt()), r.concurrency(100),
	}, more...)
}

// concurrency is the setting for as many handlers as it takes for 200 orders a second, and for more orders as many more: a fault
// must not be blamed for what too few handlers hold up.
func (r *Rig) concurrency(handlers float64) string {
	return "CONCURRENCY=" + strconv.Itoa(int(min(handlers*max(1, r.plan.Rate/200), 10_000)))
}

// vt is the visibility timeout in seconds.
func (r *Rig) vt() int { return pick(r.plan, 5, 2) }

func (r *Rig) addConsumer(ctx context.Context, env ...string) error {
	if r.countsStarts() {
		env = append([]string{"LOG_LEVEL=debug"}, env...)
	}
	n, err := r.stack.StartConsumer(ctx, fmt.Sprintf("consumer-%d", len(r.consumers)+1), r.handled(env)...)
	if err != nil {
		return err
	}
	r.consumers = append(r.consumers, n)
	r.expect(n)
	return nil
}

// expect says that a node's process of now is to live on.
func (r *Rig) expect(n *stack.Node) { r.expected[n] = n.Process() }

// proxy puts a proxy before the database and returns the URL through it.
func (r *Rig) proxy() (string, error) {
	p, err := pgproxy.New(r.databaseURL)
	if err != nil {
		return "", err
	}
	r.proxies = append(r.proxies, p)
	return p.URL, nil
}

// line keeps the last lines, which may explain a failure.
func (r *Rig) line(l proc.Line) {
	if strings.Contains(l.Text, `"level":"DEBUG"`) {
		r.starts.note(l.Text)
		return
	}
	if r.suite.Log != nil {
		r.suite.Log(r.fault.Name, time.Now().Format("15:04:05.000 ")+l.Process+" | "+l.Text)
	}
	r.failures.note(l.Text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) == keptLines {
		r.lines = r.lines[1:]
	}
	r.lines = append(r.lines, l.Process+" | "+l.Text)
}

func (r *Rig) troubles() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// tail is how long orders are posted after the cause has ended.
func (r *Rig) tail() time.Duration { return pick(r.plan, 4*time.Second, 1500*time.Millisecond) }

// load starts the load generator for as long as the cause is to last and some time more, and the prober beside it.
func (r *Rig) load(ctx context.Context) error {
	return r.loadFor(ctx, r.plan.Duration+r.tail())
}

func (r *Rig) loadFor(ctx context.Context, d time.Duration, env ...string) error {
	env = append([]string{
		"RATE=" + strconv.FormatFloat(r.plan.Rate, 'f', -1, 64), "DURATION=" + d.String(), "ORDERS=0", "ARRIVALS=poisson",
		"SEED=" + strconv.FormatUint(r.plan.Seed, 10), "RUN_ID=load", "PROGRESS=off", "LOG_LEVEL=warn", "LOG_FORMAT=json",
		"AUDIT_PATIENCE=90s",
	}, env...)
	var err error
	if r.loadgen, err = r.stack.Loadgen(r.api, nil, env...); err != nil {
		return err
	}
	r.loadEnds = time.Now().Add(d)
	r.probe(ctx)
	return nil
}

// probe starts a prober.
func (r *Rig) probe(ctx context.Context) {
	r.probers++
	r.prober = newProber(r.probers, r.api.URL())
	r.prober.client.Timeout = r.patience()
	r.prober.start(ctx)
}

// patience is how long a client waits for an answer. Where no duration is judged, an answer that is late is not one that never came.
func (r *Rig) patience() time.Duration {
	if r.plan.Untimed {
		return 2 * time.Minute
	}
	return probeTimeout
}

// unhurried are settings of the api where each single order has to be accepted: where no duration is judged, also by a machine that stands still
// for a moment.
func (r *Rig) unhurried() []string {
	if r.plan.Untimed {
		return []string{"REQUEST_TIMEOUT=1m"}
	}
	return nil
}

// every does something again and again, each time after an interval, until the cause has lasted long enough: several times also
// when that is soon. n counts from 0.
func (r *Rig) every(ctx context.Context, interval time.Duration, do func(n int) error) error {
	interval = min(interval, r.plan.Duration/4)
	end := time.NewTimer(r.plan.Duration)
	defer end.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
			if err := do(n); err != nil {
				return err
			}
		case <-end.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wait is a pause that is part of a fault.
func (r *Rig) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// limit is how long to wait for what must come: only a hang takes as long.
func (r *Rig) limit() time.Duration {
	if r.plan.Untimed {
		return 3 * time.Minute
	}
	return time.Minute
}

// until waits for a condition, bounded.
func (r *Rig) until(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
		}
	}
}

// ended marks the end of the cause: recovery is counted from here.
func (r *Rig) ended() { r.causeAt = time.Now() }

// check, measured and quick are the result's.
func (r *Rig) check(ok bool, what string, got, want any) { r.result.check(ok, what, got, want) }

func (r *Rig) measured(ok bool, what string, got, want any) { r.result.measured(ok, what, got, want) }

func (r *Rig) quick(what string, got, bar time.Duration) {
	r.result.quick(r.plan, r.lag.most(), what, got, bar)
}

// account waits until orders are accepted again, for the load generator's audit and for the prober, checks both against the database, and
// measures the recovery. Where no order is accepted there is an account all the same.
func (r *Rig) account(ctx context.Context) error {
	return errors.Join(r.acceptsAgain(ctx), r.accountNow(ctx))
}

// acceptsAgain waits until the prober has seen the end of the outage: otherwise nothing would show the recovery.
func (r *Rig) acceptsAgain(ctx context.Context) error {
	return r.until(ctx, "orders are accepted again", func() (bool, error) {
		return slices.ContainsFunc(r.prober.all(), func(one probe) bool { return one.status == http.StatusCreated && one.sent.After(r.causeAt) }), nil
	})
}

func (r *Rig) accountNow(ctx context.Context) error {
	// On a busy machine the cause may end later than planned. Orders that are posted after it are what shows the recovery, so the
	// prober goes by the cause's real end. It has to stop some time: the load generator's audit waits for an empty queue.
	until := r.causeAt.Add(r.tail())
	if r.loadEnds.After(until) {
		until = r.loadEnds
	}
	if err := r.wait(ctx, time.Until(until)); err != nil {
		return err
	}
	if err := r.prober.stop(ctx); err != nil {
		return err
	}
	code, err := r.loadgen.Wait(ctx)
	if err != nil {
		return err
	}
	report, err := r.loadgen.Report()
	if err == nil {
		_, err = report.Account()
	}
	if err != nil {
		return errors.Join(err, r.loadgen.Failure())
	}
	e, err := r.gather(ctx, report, code)
	if err != nil {
		return err
	}
	r.result.judge(r.fault, r.plan, e)
	r.result.judgeStories(e.stories, &r.failures)
	if r.countsStarts() {
		return r.judgeStarts(ctx, e.stories)
	}
	return nil
}

// close stops the services in order, which has to work after every fault, and removes what the fault had of its own.
func (r *Rig) close(ctx context.Context) error {
	var errs []error
	if r.prober != nil {
		r.prober.cancel()
		errs = append(errs, r.prober.stop(ctx))
	}
	if r.lag != nil {
		r.lag.stop()
	}
	if r.loadgen != nil {
		r.loadgen.Kill()
	}
	if r.stack != nil {
		errs = append(errs, r.stack.Stop(ctx))
	}
	for _, p := range r.proxies {
		p.Close()
	}
	if r.pooler != nil {
		errs = append(errs, r.pooler.Close()) // after the receiver, which ends by asking the api for its orders
	}
	if r.server != nil {
		errs = append(errs, r.server.Close(ctx))
	}
	if r.managed != nil {
		errs = append(errs, r.managed.Close(ctx))
	}
	if r.group != nil {
		errs = append(errs, r.group.Close(ctx))
	}
	if r.database != "" {
		errs = append(errs, stack.DropDatabase(ctx, r.serverURL, r.database))
	}
	return errors.Join(errs...)
}

// sql runs a statement on a connection of its own, not through any proxy.
func (r *Rig) sql(ctx context.Context, sql string, args ...any) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return errors.Join(err, conn.Close(ctx))
}

func (r *Rig) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	address, err := address.Parse(r.databaseURL)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, address.Config("chaos", 5*time.Second)) // of several servers, the one that takes writes
}

// log is a line of the rig's own among those of the services.
func (r *Rig) log(format string, args ...any) {
	if r.suite.Log != nil {
		r.suite.Log(r.fault.Name, time.Now().Format("15:04:05.000 ")+"rig | "+fmt.Sprintf(format, args...))
	}
	if r.suite.Say != nil {
		r.suite.Say(r.fault.Name+": "+format, args...)
	}
}
