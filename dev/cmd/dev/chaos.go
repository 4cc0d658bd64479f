package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"orderflow.example/dev/internal/chaos"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// runChaos runs the chaos suite: FAULTS (names; all without), HANDLER (simulate, webhook, sql), RATE, DURATION, SEED, ROUNDS (of
// failovers), SHORT=true;
// CHAOS_LOGS=DIR keeps the services' logs, a file for each fault. It always runs on servers of its own: it crashes them.
func runChaos(ctx context.Context, env *environment, _ []string) (code int, err error) {
	plan, err := readPlan()
	if err != nil {
		return exitUsage, err
	}
	faults, err := chaos.Select(os.Getenv("FAULTS"))
	if err != nil {
		return exitUsage, err
	}
	logs, err := openLogs(os.Getenv("CHAOS_LOGS"))
	if err != nil {
		return exitUsage, err
	}
	defer func() { err = errors.Join(err, logs.close()) }()
	if os.Getenv("DATABASE_URL") != "" {
		env.say("DATABASE_URL is not used: the chaos suite crashes its Postgres, so it starts its own")
	}
	p, err := prepare(ctx, env, postgres.Options{MaxConnections: 200})
	if err != nil {
		return exitFault, err
	}
	defer func() { err = errors.Join(err, closeServer(ctx, p.server)) }()

	suite := &chaos.Suite{
		Session: env.session, Binaries: p.binaries, ServerURL: p.server.URL(), Template: "chaos_template", Plan: plan,
		PostgresFrom: os.Getenv("POSTGRES_FROM"), Say: env.say,
	}
	if logs.dir != "" {
		suite.Log = logs.line
	}
	template, err := stack.CreateDatabase(ctx, p.server.URL(), suite.Template, "")
	if err != nil {
		return exitFault, err
	}
	if err := stack.Migrate(ctx, env.session, p.binaries, template); err != nil {
		return exitFault, err
	}
	env.say("chaos: %d faults, %v orders/s, %v each, seed %d", len(faults), plan.Rate, plan.Duration, plan.Seed)
	var results []chaos.Result
	for _, f := range faults {
		if ctx.Err() != nil {
			return exitInterrupted, context.Cause(ctx)
		}
		env.say("%s: %s", f.Name, f.Title)
		r := suite.Run(ctx, f)
		if ctx.Err() != nil {
			return exitInterrupted, context.Cause(ctx)
		}
		env.say("%s: %s", f.Name, outcome(r))
		results = append(results, r)
	}
	chaos.Table(env.stdout, results)
	if chaos.Failed(results) {
		return exitFault, nil
	}
	return 0, nil
}

func outcome(r chaos.Result) string {
	switch {
	case r.Skipped != "":
		return "not run: " + r.Skipped
	case r.Failed():
		return fmt.Sprintf("FAILED (%.0f s)", r.Took.Seconds())
	}
	return fmt.Sprintf("ok, %d accepted, recovery %.2f s (%.0f s)", r.Accepted, r.Recovery.Seconds(), r.Took.Seconds())
}

func readPlan() (chaos.Plan, error) {
	plan := chaos.FullPlan()
	if short, err := strconv.ParseBool(os.Getenv("SHORT")); err == nil && short {
		plan = chaos.ShortPlan()
	}
	var errs []error
	if plan.Handler = os.Getenv("HANDLER"); plan.Handler != "" && !slices.Contains(chaos.Handlers, plan.Handler) {
		errs = append(errs, fmt.Errorf("HANDLER=%q: must be one of %s", plan.Handler, strings.Join(chaos.Handlers, ", ")))
	}
	if text := os.Getenv("RATE"); text != "" {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || rate < 1 || rate > 100_000 {
			errs = append(errs, fmt.Errorf("RATE=%q: must be a number of orders per second from 1 to 100000", text))
		}
		plan.Rate = rate
	}
	rounds, err := number("ROUNDS", 0, 0, 100_000)
	if err != nil {
		errs = append(errs, err)
	}
	plan.Rounds = rounds
	if text := os.Getenv("DURATION"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || d > time.Hour {
			errs = append(errs, fmt.Errorf("DURATION=%q: must be a duration from 1s to 1h", text))
		}
		plan.Duration = d
	}
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("SEED=%q: must be a whole number", text))
		}
		plan.Seed = seed
	}
	return plan, errors.Join(errs...)
}

// faultLogs are files with the services' lines, one for each fault.
type faultLogs struct {
	dir   string
	mu    sync.Mutex
	files map[string]*os.File
}

func openLogs(dir string) (*faultLogs, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // logs for people to read
			return nil, fmt.Errorf("CHAOS_LOGS: %w", err)
		}
	}
	return &faultLogs{dir: dir, files: map[string]*os.File{}}, nil
}

func (l *faultLogs) line(fault, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[fault]
	if !ok {
		f, _ = os.Create(filepath.Join(l.dir, fault+".log")) // a file that cannot be made stays nil, and is written to in vain
		l.files[fault] = f
	}
	_, _ = fmt.Fprintln(f, line) // logs are an extra
}

func (l *faultLogs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range l.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
