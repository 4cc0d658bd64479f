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

// runAudit audits a run that is over, from what the api shows of it.
func (s *session) runAudit() error {
	s.sent.Store(true)
	if err := s.awaitReady(s.all); err != nil {
		return s.fail(err)
	}
	parts, err := audit.Discover(s.all, s.client, s.cfg.RunID, s.cfg.Orders, s.cfg.AuditPatience)
	if err != nil {
		return s.fail(err)
	}
	r := s.newRun(s.cfg.RunID, arrivals.Profile{})
	r.view.Audit(audit.Progress{})
	stop := r.watch("")
	err = r.audit(parts...)
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
			Keys:  r.keys,
			Mix:   orders.Mix{Seed: cfg.Seed, Poison: float64(cfg.PoisonShare), Duplicate: float64(cfg.DuplicateShare)},
			Limit: limit, Bulk: cfg.Bulk,
			Workers: cfg.Concurrency, Duration: cfg.Duration,
			Schedule: schedule, Peak: r.profile.Peak(), MaxInFlight: cfg.MaxInFlight, MaxLate: cfg.MaxLate,
			Retry: load.Retry{For: cfg.RetryFor, Base: cfg.BackoffBase, Max: cfg.BackoffMax},
		},
		NewPoster: func() load.Poster { return r.client.NewPoster(cfg.Bulk > 1) },
		Ledger:    r.ledger, Recorder: r.recorder, Log: r.log,
	}
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
}

func (r *run) open() bool { return r.profile.Peak() > 0 }

// audit accounts for the orders: those that were sent, or those of an earlier run's parts.
func (r *run) audit(parts ...audit.Run) error {
	options := audit.DefaultOptions(r.cfg.AuditPatience)
	options.Concurrency, options.Log, options.Progress = r.cfg.AuditConcurrency, r.log, r.auditing
	if parts == nil {
		parts = []audit.Run{{Keys: r.keys, Ledger: r.ledger}}
		options.Completed = r.recorder.Completed
	}
	account, err := audit.New(r.client, options, parts...).Run(r.all)
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

// rules are the settings that say what is no fault.
func (s *session) rules() report.Rules {
	return report.Rules{DeadAllowed: s.cfg.Thresholds.About("dead")}
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

// pollQueue asks for the queue's state every second, for the screen and the chart.
func (r *run) pollQueue(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if q, err := r.client.Queue(ctx); err == nil {
			r.recorder.Queue(time.Now(), q)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
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
