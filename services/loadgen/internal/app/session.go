package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/program"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/metrics"
	"orderflow.example/services/loadgen/internal/screen"
)

// session is what every command has: settings, a log, connections to the api, and the contexts that signals end.
type session struct {
	call    *program.Call
	cfg     *config.Config
	command string
	log     *slog.Logger
	out     *screen.Terminal
	client  *client.Client
	metrics *metrics.Server // nil when it is off

	signalled context.Context // ends with the first signal
	sending   context.Context // ends with the first signal
	all       context.Context // ends with the second, or with the first when nothing is being sent any more
	cancel    context.CancelFunc

	begun      atomic.Bool // sending has begun
	sent       atomic.Bool // sending is over: the next signal ends everything
	closed     chan struct{}
	background sync.WaitGroup
}

func newSession(ctx context.Context, call *program.Call, cfg *config.Config, command string, terminal *screen.Terminal) (*session, error) {
	for path, what := range map[string]string{cfg.ReportJSON: "REPORT_JSON", cfg.ReportHTML: "REPORT_HTML"} {
		if err := writable(path); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	log := call.Log
	conns := cfg.Concurrency
	if cfg.Open() || command == "capacity" {
		conns = cfg.MaxInFlight
	}
	c, err := client.New(client.Options{
		URL: cfg.APIURL, Token: cfg.Token(), Timeout: cfg.RequestTimeout, MaxConns: conns + cfg.AuditConcurrency + 4, UserAgent: "orderflow-loadgen/" + call.Version,
	})
	if err != nil {
		return nil, err
	}
	var served *metrics.Server
	if cfg.MetricsPort >= 0 {
		if served, err = metrics.Start(ctx, cfg.MetricsHost, cfg.MetricsPort, cfg.Pprof, log); err != nil {
			return nil, err
		}
	}
	s := &session{call: call, cfg: cfg, command: command, log: log, out: terminal, client: c, metrics: served, signalled: ctx, closed: make(chan struct{})}
	s.all, s.cancel = context.WithCancel(call.Twice)
	var stopSending context.CancelFunc
	s.sending, stopSending = context.WithCancel(s.all)
	s.background.Go(func() {
		defer stopSending()
		s.watchSignal(stopSending)
	})
	log.Info("starting", slog.String("command", command), slog.String("version", call.Version), slog.String("run_id", cfg.RunID), slog.Any("settings", cfg.Changed()))
	return s, nil
}

// writable says why a report cannot be written, before the run that it is about. What the file holds stays until there is something to put in its place.
func writable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // a report is there to be read by others
	if err != nil {
		return err
	}
	return f.Close()
}

// watchSignal ends the sending with the first signal, or everything when nothing is being sent (not yet, or not any more).
func (s *session) watchSignal(stopSending context.CancelFunc) {
	select {
	case <-s.closed:
		return
	case <-s.signalled.Done():
	}
	if s.begun.Load() && !s.sent.Load() {
		s.log.Warn("interrupted: no more orders are sent; those that were sent are audited now (interrupt again to leave at once)")
		stopSending()
	} else {
		s.log.Warn("interrupted: leaving with the results so far")
		s.cancel()
	}
	<-s.closed
}

// interrupted says whether there was a signal.
func (s *session) interrupted() bool { return s.signalled.Err() != nil }

func (s *session) close() {
	close(s.closed)
	s.cancel()
	s.background.Wait()
	s.client.Close()
	if s.metrics != nil {
		s.metrics.Close()
	}
}

// fail reports a fault of loadgen's own.
func (s *session) fail(err error) error {
	if s.interrupted() && errors.Is(err, context.Canceled) {
		s.log.Warn("interrupted before there was anything to report")
		return exit(ExitInterrupted)
	}
	return err
}

// awaitReady waits until the api is ready to take orders.
func (s *session) awaitReady(ctx context.Context) error {
	deadline := time.Now().Add(s.cfg.ReadyTimeout)
	pause := 100 * time.Millisecond
	var logged time.Time
	for {
		err := s.client.Ready(ctx)
		if err == nil {
			s.log.Info("API Server is ready!", slog.String("api", s.apiURL()))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().Add(pause).After(deadline) {
			return fmt.Errorf("the api at %s was not ready within %s: %w", s.apiURL(), s.cfg.ReadyTimeout, err)
		}
		if time.Since(logged) >= time.Second {
			logged = time.Now()
			s.log.Info("API Server is not ready...", slog.Any("error", err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, time.Second)
	}
}

// apiURL is the api's address without a password that it may bear.
func (s *session) apiURL() string { return env.MaskURL(s.cfg.APIURL) }
