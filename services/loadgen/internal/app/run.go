package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/load"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
	"orderflow.example/services/loadgen/internal/progress"
	"orderflow.example/services/loadgen/internal/receive"
)

// runLoad is the plain command: send, audit, report.
func (s *session) runLoad() error {
	var profile arrivals.Profile
	switch {
	case len(s.cfg.Stages) > 0:
		profile = arrivals.NewProfile(s.cfg.Rate, s.cfg.Stages)
	case s.cfg.Open():
		profile = arrivals.Constant(s.cfg.Rate, s.cfg.Duration)
	}
	var before *client.Queue
	if s.cfg.Audit {
		before = s.queueBefore()
	}
	r := s.newRun(s.cfg.RunID, profile)
	r.before = before
	stop := r.watch("sending")
	r.send(s.cfg.Orders)
	ctx := s.once
	if s.interrupted() { // who asks once wants to know what became of the orders that were sent
		ctx = s.twice
		r.lastWords()
	}
	var err error
	if s.cfg.Audit {
		err = r.audit(ctx)
	}
	stop()
	return s.finish(r.summary(), err)
}

// runAudit audits a run that is over, from what the api shows of it.
func (s *session) runAudit() error {
	parts, err := audit.Discover(s.once, s.client, s.cfg.RunID, s.cfg.Orders, s.cfg.AuditPatience)
	if err != nil {
		return s.fail(err)
	}
	r := s.newRun(s.cfg.RunID, arrivals.Profile{})
	r.view.Audit(audit.Progress{})
	stop := r.watch("")
	err = r.audit(s.once, parts...)
	stop()
	return s.finish(r.summary(), err)
}

// run is one run under way: orders under one run id, what is measured of them, and their account.
type run struct {
	*session
	keys     orders.Keys
	start    time.Time
	profile  arrivals.Profile // of the open model
	before   *client.Queue    // the queue before the run; nil when that is not known
	ledger   *ledger.Ledger
	recorder *measure.Recorder
	view     progress.View
	sending  time.Duration // how long it was
	account  *audit.Result
	received *receive.Account // what the receiver of webhooks says of the orders; nil without one
}

// asking is how long the start of a run may wait for what the queue holds.
const asking = 5 * time.Second

// queueBefore asks once what the queue holds, for an audit that has to tell the run's messages from others'; nil when nobody says.
func (s *session) queueBefore() *client.Queue {
	ctx, cancel := context.WithTimeout(s.once, asking)
	defer cancel()
	q, err := s.client.Queue(ctx)
	if err != nil {
		s.log.Debug("what the queue held before the run is not known", slog.Any("error", err))
		return nil
	}
	return &q
}

// newRun begins a run now.
func (s *session) newRun(id string, profile arrivals.Profile) *run {
	start := time.Now()
	return &run{
		session: s, keys: orders.Keys{Run: id, Index: s.cfg.Index}, start: start, profile: profile,
		ledger: ledger.New(start, s.cfg.Bulk), recorder: measure.NewRecorder(start),
	}
}

// send sends orders until there were limit (0 = no limit), the profile or the duration is over, or a signal comes.
func (r *run) send(limit int) {
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
		g.Run(r.once, r.start)
	}()
	select {
	case <-done:
	case <-r.once.Done():
		r.log.Warn("interrupted: no more orders are sent (interrupt again to leave at once)")
		select {
		case <-done:
		case <-r.twice.Done(): // whoever has asked twice does not wait for requests that hang: the ledger and the recorder know what there is
		}
	}
	r.sending = time.Since(r.start)
}

func (r *run) open() bool { return r.profile.Peak() > 0 }

// audit accounts for the orders: those that were sent, or those of an earlier run's parts.
func (r *run) audit(ctx context.Context, parts ...audit.Part) error {
	options := audit.DefaultOptions(r.cfg.AuditPatience)
	options.Concurrency, options.Log, options.Progress = r.cfg.AuditConcurrency, r.log, r.auditing
	options.UnderWay, options.Before = r.cfg.RequestTimeout+r.cfg.RetryFor, r.before
	if parts == nil {
		parts = []audit.Part{{Keys: r.keys, Ledger: r.ledger}}
	}
	account, err := audit.New(r.client, options, parts...).Run(ctx)
	r.account = &account
	if err == nil && r.cfg.ReceiverURL != "" {
		r.received, err = receive.Ask(ctx, r.cfg.ReceiverURL, r.cfg.RunID)
	}
	return err
}

// auditing takes in the audit's progress.
func (r *run) auditing(p audit.Progress) {
	r.view.Audit(p)
	if r.metrics != nil {
		r.metrics.Audit(p)
	}
}

// watch shows the progress and polls the queue until the returned function is called.
func (r *run) watch(doing string) (stop func()) {
	ctx, cancel := context.WithCancel(r.twice)
	r.view.Doing, r.view.Recorder, r.view.Total, r.view.Length = doing, r.recorder, r.cfg.Orders, r.cfg.Duration
	if l := r.profile.Length(); l > 0 {
		r.view.Length = l
	}
	if r.metrics != nil {
		r.metrics.Watch(r.recorder)
	}
	var watching sync.WaitGroup
	watching.Go(func() { r.pollQueue(ctx) })
	watching.Go(func() {
		progress.Show(ctx, &r.view, progress.Options{Mode: r.cfg.Progress, Every: r.cfg.ProgressInterval, Log: r.log, Terminal: r.terminal})
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// pollQueue asks for the queue's state every second, for the progress and the metrics.
func (r *run) pollQueue(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if q, err := r.client.Queue(ctx); err == nil {
			r.recorder.Queue(q)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
