package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/load"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
	"orderflow.example/services/loadgen/internal/report"
	"orderflow.example/services/loadgen/internal/screen"
)

// runLoad is the plain command: wait for the api, send, audit, report.
func (s *session) runLoad() int {
	if err := s.awaitReady(s.sending); err != nil {
		return s.fail(err)
	}
	start := time.Now()
	r := &runState{
		session: s, keys: orders.Keys{Run: s.cfg.RunID, Index: s.cfg.Index}, start: start,
		ledger: ledger.New(start, s.cfg.Bulk), recorder: measure.NewRecorder(start),
	}
	profile, schedule := s.schedule()
	r.profile = profile
	stop := r.watch()
	cpu := processCPU()
	r.generate(s.sending, schedule, s.cfg.Orders, s.cfg.Duration)
	sending := time.Since(start)
	cores := (processCPU() - cpu).Seconds() / sending.Seconds()
	s.sent.Store(true)

	summary := s.summary(start)
	var err error
	if s.cfg.Audit {
		err = r.audit(summary)
	}
	stop()
	summary.Load = r.load(sending, cores)
	summary.SetHistograms(r.recorder.Post(), r.recorder.Service(), r.e2e())
	return s.finish(summary, err)
}

// runState is one run under way.
type runState struct {
	*session
	keys     orders.Keys
	start    time.Time
	profile  arrivals.Profile
	ledger   *ledger.Ledger
	recorder *measure.Recorder
	view     screen.View
	account  *audit.Result
}

// schedule is the open model's, or nil for the closed one.
func (s *session) schedule() (arrivals.Profile, *arrivals.Schedule) {
	if !s.cfg.Open() {
		return arrivals.Profile{}, nil
	}
	profile := arrivals.Constant(s.cfg.Rate, s.cfg.Duration)
	if len(s.cfg.Stages) > 0 {
		profile = arrivals.NewProfile(s.cfg.Rate, s.cfg.Stages)
	}
	return profile, s.newSchedule(profile)
}

func (s *session) newSchedule(profile arrivals.Profile) *arrivals.Schedule {
	if s.cfg.Arrivals == "poisson" {
		return arrivals.NewPoissonSchedule(profile, s.cfg.Bulk, s.cfg.Seed)
	}
	return arrivals.NewSchedule(profile, s.cfg.Bulk)
}

// generate sends orders until the plan is carried out or the context ends.
func (r *runState) generate(ctx context.Context, schedule *arrivals.Schedule, limit int, duration time.Duration) {
	cfg := r.cfg
	g := &load.Generator{
		Plan: load.Plan{
			Keys:      r.keys,
			Mix:       orders.Mix{Seed: cfg.Seed, Poison: float64(cfg.PoisonShare), Oversized: float64(cfg.OversizedShare), Duplicate: float64(cfg.DuplicateShare)},
			Oversized: int(cfg.OversizedBytes), Limit: limit, Bulk: cfg.Bulk,
			Workers: cfg.Concurrency, Duration: duration,
			Schedule: schedule, Peak: r.profile.Peak(), MaxInFlight: cfg.MaxInFlight, MaxLate: cfg.MaxLate,
			Retry: load.Retry{For: cfg.RetryFor, Base: cfg.BackoffBase, Max: cfg.BackoffMax},
		},
		NewPoster: func() load.Poster { return r.client.NewPoster(cfg.Bulk > 1) },
		Ledger:    r.ledger, Recorder: r.recorder, Log: r.log,
	}
	g.Run(ctx, r.start)
}

// audit accounts for the orders and puts the account into the summary.
func (r *runState) audit(summary *report.Summary) error {
	options := r.auditOptions()
	options.Progress = r.view.Audit
	options.Completed = r.recorder.Completed
	account, err := audit.New(r.client, options, audit.Run{Keys: r.keys, Ledger: r.ledger}).Run(r.all)
	summary.Audit, summary.AuditTook = &account, account.Took.Seconds()
	r.account = &account
	if account.HasDrain {
		drain := account.Drain.Seconds()
		summary.Drain = &drain
	}
	return err
}

func (s *session) auditOptions() audit.Options {
	options := audit.DefaultOptions(s.cfg.AuditPatience)
	options.Concurrency, options.Log = s.cfg.AuditConcurrency, s.log
	return options
}

func (r *runState) e2e() *measure.Histogram {
	if r.account == nil {
		return nil
	}
	return r.account.E2E
}

// watch shows the progress and polls the queue until the returned function is called.
func (r *runState) watch() (stop func()) {
	ctx, cancel := context.WithCancel(r.all)
	r.view.Total, r.view.Length = r.cfg.Orders, r.cfg.Duration
	if l := r.profile.Length(); l > 0 {
		r.view.Length = l
	}
	r.view.Run, r.view.API, r.view.Recorder, r.view.Profile = r.cfg.RunID, r.apiURL(), r.recorder, r.profile
	done := make(chan struct{})
	r.background.Go(func() { r.pollQueue(ctx) })
	r.background.Go(func() {
		defer close(done)
		screen.Show(ctx, &r.view, screen.Options{Mode: r.cfg.Progress, Every: r.cfg.ProgressInterval, Log: r.log, Out: r.program.Stderr})
	})
	return func() {
		cancel()
		<-done
	}
}

// pollQueue asks for the queue's state every second, for the screen and the chart, as long as the api has a GET /queue.
func (r *runState) pollQueue(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for refused := 0; refused < 3; {
		q, err := r.client.Queue(ctx)
		switch {
		case err == nil && q.Depth >= 0:
			refused = 0
			r.recorder.Queue(time.Now(), q)
		case err == nil:
			refused++
		case isRefusal(err):
			refused++
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	r.log.Debug("no queue state", slog.String("reason", "GET /queue is not answered with a depth"))
}

// finish evaluates the thresholds, writes what is to be written and decides the exit code.
func (s *session) finish(summary *report.Summary, err error) int {
	if err != nil && !errors.Is(err, context.Canceled) {
		summary.Faults = append(summary.Faults, err.Error())
	}
	summary.Interrupted = s.interrupted.Load()
	summary.Thresholds = s.cfg.Thresholds.Evaluate(summary.Value)
	summary.Judge()
	switch {
	case summary.Interrupted:
		summary.ExitCode = ExitInterrupted
	case err != nil:
		summary.ExitCode = ExitFault
	case len(summary.Faults) > 0:
		summary.ExitCode = ExitThresholds
	}
	summary.Ended = time.Now()
	if err := s.write(summary); err != nil {
		s.log.Error("report", slog.Any("error", err))
		if summary.ExitCode == ExitOK {
			summary.ExitCode = ExitFault
		}
	}
	summary.Text(s.program.Stdout)
	return summary.ExitCode
}
