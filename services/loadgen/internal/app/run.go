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
	"orderflow.example/services/loadgen/internal/receive"
	"orderflow.example/services/loadgen/internal/report"
	"orderflow.example/services/loadgen/internal/screen"
)

// runLoad is the plain command: wait for the api, send, audit, report.
func (s *session) runLoad() error {
	if err := s.awaitReady(s.sending); err != nil {
		return s.fail(err)
	}
	var profile arrivals.Profile
	switch {
	case len(s.cfg.Stages) > 0:
		profile = arrivals.NewProfile(s.cfg.Rate, s.cfg.Stages)
	case s.cfg.Open():
		profile = arrivals.Constant(s.cfg.Rate, s.cfg.Duration)
	}
	r := s.newRun(s.cfg.RunID, profile)
	stop := r.watch("")
	s.begun.Store(true)
	r.send(s.sending, s.cfg.Orders)
	s.sent.Store(true)
	if s.interrupted() {
		s.lastWords(r.summary())
	}
	var err error
	if s.cfg.Audit {
		err = r.audit()
	}
	stop()
	return s.finish(r.summary(), err)
}

// run is one run under way: orders under one run id, what is measured of them, and their account.
type run struct {
	*session
	keys     orders.Keys
	start    time.Time
	profile  arrivals.Profile // of the open model
	ledger   *ledger.Ledger
	recorder *measure.Recorder
	view     screen.View
	sending  time.Duration // how long it was
	cores    float64       // that this process used meanwhile
	account  *audit.Result
	received *receive.Account // what the receiver of webhooks says of the orders; nil without one
}

// newRun begins a run now.
func (s *session) newRun(id string, profile arrivals.Profile) *run {
	start := time.Now()
	return &run{
		session: s, keys: orders.Keys{Run: id, Index: s.cfg.Index}, start: start, profile: profile,
		ledger: ledger.New(start, s.cfg.Bulk), recorder: measure.NewRecorder(start),
	}
}

// send sends orders until there were limit (0 = no limit), the profile or the duration is over, or the context ends.
func (r *run) send(ctx context.Context, limit int) {
	cfg := r.cfg
	var schedule *arrivals.Schedule
	switch {
	case !r.open():
	case cfg.Arrivals == "poisson":
		schedule = arrivals.NewPoissonSchedule(r.profile, cfg.Bulk, cfg.Seed)
	default:
		schedule = arrivals.NewSchedule(r.profile, cfg.Bulk)
	}
	g := &load.Generator{
		Plan: load.Plan{
			Keys:      r.keys,
			Mix:       orders.Mix{Seed: cfg.Seed, Poison: float64(cfg.PoisonShare), Oversized: float64(cfg.OversizedShare), Duplicate: float64(cfg.DuplicateShare)},
			Oversized: int(cfg.OversizedBytes), Limit: limit, Bulk: cfg.Bulk,
			Workers: cfg.Concurrency, Duration: cfg.Duration,
			Schedule: schedule, Peak: r.profile.Peak(), MaxInFlight: cfg.MaxInFlight, MaxLate: cfg.MaxLate,
			Retry: load.Retry{For: cfg.RetryFor, Base: cfg.BackoffBase, Max: cfg.BackoffMax},
		},
		NewPoster: func() load.Poster { return r.client.NewPoster(cfg.Bulk > 1) },
		Ledger:    r.ledger, Recorder: r.recorder, Log: r.log,
	}
	cpu := processCPU()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx, r.start)
	}()
	select {
	case <-done:
	case <-r.all.Done(): // whoever has asked twice does not wait for requests that hang: the ledger and the recorder know what there is
	}
	r.sending = time.Since(r.start)
	r.cores = (processCPU() - cpu).Seconds() / r.sending.Seconds()
}

func (r *run) open() bool { return r.profile.Peak() > 0 }

// audit accounts for the orders.
func (r *run) audit() error {
	options := r.auditOptions()
	options.Progress = r.auditing
	options.Completed = r.recorder.Completed
	account, err := audit.New(r.client, options, audit.Run{Keys: r.keys, Ledger: r.ledger}).Run(r.all)
	r.account = &account
	if err == nil {
		r.received, err = r.askReceiver()
	}
	return err
}

// askReceiver asks the receiver of webhooks for its account of the run, where there is one.
func (s *session) askReceiver() (*receive.Account, error) {
	if s.cfg.ReceiverURL == "" {
		return nil, nil //nolint:nilnil // nobody to ask is no error
	}
	return receive.Ask(s.all, s.cfg.ReceiverURL, s.cfg.RunID)
}

// auditing takes in the audit's progress.
func (r *run) auditing(p audit.Progress) {
	r.view.Audit(p)
	if r.metrics != nil {
		r.metrics.Audit(p)
	}
}

func (s *session) auditOptions() audit.Options {
	options := audit.DefaultOptions(s.cfg.AuditPatience)
	options.Concurrency, options.Log, options.NoEffects = s.cfg.AuditConcurrency, s.log, !s.cfg.AuditEffects
	return options
}

// rules are the settings that say what is no fault.
func (s *session) rules() report.Rules {
	return report.Rules{DeadAllowed: s.cfg.Thresholds.About("dead"), EffectsWaived: !s.cfg.AuditEffects}
}

// watch shows the progress and polls the queue until the returned function is called.
func (r *run) watch(title string) (stop func()) {
	ctx, cancel := context.WithCancel(r.all)
	r.view.Title, r.view.Run, r.view.API, r.view.Recorder, r.view.Profile = title, r.keys.Run, r.apiURL(), r.recorder, r.profile
	r.view.Total, r.view.Length = r.cfg.Orders, r.cfg.Duration
	if l := r.profile.Length(); l > 0 {
		r.view.Length = l
	}
	if r.metrics != nil {
		r.metrics.Watch(r.recorder)
	}
	polled, shown := make(chan struct{}), make(chan struct{})
	r.background.Go(func() {
		defer close(polled)
		r.pollQueue(ctx)
	})
	r.background.Go(func() {
		defer close(shown)
		screen.Show(ctx, &r.view, screen.Options{Mode: r.cfg.Progress, Every: r.cfg.ProgressInterval, Log: r.log, Terminal: r.out})
	})
	return func() {
		cancel()
		<-polled
		<-shown
	}
}

// pollQueue asks for the queue's state every second, for the screen and the chart, as long as the api has a GET /queue.
func (r *run) pollQueue(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for refused := 0; refused < 3; {
		q, err := r.client.Queue(ctx)
		switch {
		case err == nil && q.Depth >= 0:
			refused = 0
			r.recorder.Queue(time.Now(), q)
		case err == nil || isRefusal(err):
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

// finish evaluates the thresholds, writes what is to be written and decides the exit code. err is a fault of loadgen's own, or that of a
// context that a signal ended.
func (s *session) finish(summary *report.Summary, err error) error {
	summary.Interrupted = s.interrupted()
	if summary.Capacity == nil {
		summary.Thresholds = s.cfg.Thresholds.Evaluate(summary.Value)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		summary.Faults = append(summary.Faults, err.Error())
	}
	summary.Judge(s.rules())
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
		s.log.Error("a report could not be written", slog.Any("error", err))
		if summary.ExitCode == ExitOK {
			summary.ExitCode = ExitFault
		}
	}
	summary.Text(s.call.Stdout)
	return exit(summary.ExitCode)
}
