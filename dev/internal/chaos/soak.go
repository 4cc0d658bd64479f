package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// SoakPlan says how long, and how hard.
type SoakPlan struct {
	Duration time.Duration
	Cycle    time.Duration // of the load, each of which ends with an audit
	Every    time.Duration // between two samples
	Rate     float64       // orders per second
	Keep     time.Duration // ORDER_RETENTION and DEAD_LETTER_RETENTION; longer than a cycle and its audit; 0: for ever
	Seed     uint64
	Say      func(format string, args ...any)
}

// Soak is what a long run found.
type Soak struct {
	Samples []Sample
	Audit   stack.Audit // of all cycles
	Cycles  int
	Faults  map[string]int
	Wrong   []string // audits that did not hold, in words
}

// steady are a soak's faults. They leave alone the two processes whose memory is looked at: a process that is killed begins anew.
var steady = []struct {
	name string
	do   func(ctx context.Context, r *Rig) error
}{
	{"a consumer killed", func(_ context.Context, r *Rig) error {
		n := r.consumers[1]
		n.Kill()
		return n.Start()
	}},
	{"a consumer restarted", func(ctx context.Context, r *Rig) error {
		return errors.Join(r.consumers[1].Stop(ctx), r.consumers[1].Start())
	}},
	{"a consumer stopped past its leases", func(ctx context.Context, r *Rig) error {
		return errors.Join(r.consumers[1].Pause(), r.wait(ctx, time.Duration(r.vt()+1)*time.Second), r.consumers[1].Resume())
	}},
	{"all connections ended", func(ctx context.Context, r *Rig) error {
		return r.sql(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	}},
	{"Postgres restarted", func(ctx context.Context, r *Rig) error { return r.server.Restart(ctx) }},
	{"Postgres crashed", func(ctx context.Context, r *Rig) error { return errors.Join(r.server.Crash(ctx), r.server.Start(ctx)) }},
	{"Postgres frozen for 3 s", func(ctx context.Context, r *Rig) error {
		return errors.Join(r.server.Pause(ctx), r.wait(ctx, 3*time.Second), r.server.Resume(ctx))
	}},
}

// vacuumed are the chart's settings of autovacuum. Between two vacuums a table grows by what comes in, and a Postgres that is started again every
// two minutes hardly comes to the first nap of the minute that is its own default; after a crash it has forgotten how many rows are dead, too.
var vacuumed = []string{"autovacuum_naptime=10s", "autovacuum_vacuum_cost_limit=2000"}

// Soak runs the system for long, with orders, faults and retention, and looks at what grows.
func (s *Suite) Soak(ctx context.Context, plan SoakPlan) (Soak, error) {
	inner := *s
	inner.Plan = Plan{Rate: plan.Rate, Duration: plan.Cycle, Seed: plan.Seed}
	r, err := newRig(ctx, &inner, Fault{Name: "soak", OwnServer: true})
	if err != nil {
		return Soak{}, err
	}
	found, err := r.soak(ctx, plan)
	return found, errors.Join(err, r.close(context.WithoutCancel(ctx)))
}

func (r *Rig) soak(ctx context.Context, plan SoakPlan) (Soak, error) {
	found := Soak{Faults: map[string]int{}}
	keep := plan.Keep.String()
	if err := r.ownServer(ctx, postgres.Options{Settings: vacuumed}); err != nil {
		return found, err
	}
	err := r.up(ctx, settings{
		consumers: 2, api: []string{"ORDER_RETENTION=" + keep, "DEAD_LETTER_RETENTION=" + keep},
		consumer: []string{"SIMULATE_WORK=20ms", "SIMULATE_FAILURES=example", "MAX_ATTEMPTS=5", "BACKOFF_BASE=100ms", "VT=" + strconv.Itoa(r.vt()), "CONCURRENCY=50"},
	})
	if err != nil {
		return found, err
	}
	sampling, stop := context.WithCancel(ctx)
	samples := make(chan []Sample, 1)
	go func() { samples <- r.sample(sampling, plan.Every) }()
	for began := time.Now(); time.Since(began) < plan.Duration && err == nil; {
		err = r.cycle(ctx, plan, &found)
		plan.Say("soak: %s of %s: %s", time.Since(began).Round(time.Second), plan.Duration, found.Audit)
	}
	stop()
	found.Samples = <-samples
	return found, err
}

// cycle sends orders for a while, with faults at random moments, and accounts for them. Faults end in time for the audit.
func (r *Rig) cycle(ctx context.Context, plan SoakPlan, found *Soak) error {
	found.Cycles++
	load, err := r.stack.Loadgen(r.api, nil, "RATE="+strconv.FormatFloat(plan.Rate, 'f', -1, 64), "DURATION="+plan.Cycle.String(), "ORDERS=0",
		"ARRIVALS=poisson", "SEED="+strconv.FormatUint(plan.Seed+uint64(found.Cycles), 10), fmt.Sprintf("RUN_ID=soak-%d", found.Cycles), //nolint:gosec // counts up
		"PROGRESS=off", "LOG_LEVEL=warn", "LOG_FORMAT=json", "AUDIT_PATIENCE=90s")
	if err != nil {
		return err
	}
	defer load.Kill()
	for end := time.Now().Add(plan.Cycle * 9 / 10); ; {
		pause := plan.Cycle/8 + time.Duration(r.rand.Int64N(int64(plan.Cycle/4)))
		if time.Now().Add(pause).After(end) {
			break
		}
		if err := r.wait(ctx, pause); err != nil {
			return err
		}
		fault := steady[r.rand.IntN(len(steady))]
		found.Faults[fault.name]++
		if err := fault.do(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", fault.name, err)
		}
	}
	code, err := load.Wait(ctx)
	if err != nil {
		return err
	}
	report, err := load.Report()
	if err != nil {
		return errors.Join(err, load.Failure())
	}
	if _, err := report.Account(); err != nil {
		return errors.Join(err, load.Failure())
	}
	e := evidence{account: report, exitCode: code}
	e.ledger, e.unsettled = r.settled(ctx) // a second delivery may come after the audit
	found.add(e)
	return nil
}

// add takes a cycle's account: it has to hold as any fault's.
func (s *Soak) add(e evidence) {
	var cycle Result
	cycle.judge(Fault{}, Plan{}, e)
	sum := &s.Audit
	sum.Accepted, sum.Completed, sum.Dead = sum.Accepted+cycle.Accepted, sum.Completed+cycle.Completed, sum.Dead+cycle.Dead
	sum.Lost, sum.Duplicated = sum.Lost+cycle.Lost, sum.Duplicated+cycle.Duplicated
	for _, c := range cycle.Checks {
		if !c.OK {
			s.Wrong = append(s.Wrong, fmt.Sprintf("cycle %d: %s: %s (%s)", s.Cycles, c.What, c.Got, c.Want))
		}
	}
}
