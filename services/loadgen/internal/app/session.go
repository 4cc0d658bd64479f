package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/program"
	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/metrics"
	"orderflow.example/services/loadgen/internal/progress"
)

// session is what every command has: settings, a log, connections to the api, and the contexts that signals end.
type session struct {
	call     *program.Call
	cfg      *config.Config
	command  string
	log      *slog.Logger
	terminal *progress.Terminal
	client   *client.Client
	metrics  *metrics.Server // nil when it is off

	once  context.Context // ends with the first signal
	twice context.Context // ends with the second
}

func newSession(ctx context.Context, call *program.Call, cfg *config.Config, command string, terminal *progress.Terminal) (*session, error) {
	if err := writable(cfg.ReportJSON); err != nil {
		return nil, fmt.Errorf("REPORT_JSON: %w", err)
	}
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
	s := &session{call: call, cfg: cfg, command: command, log: call.Log, terminal: terminal, client: c, once: ctx, twice: call.Twice}
	if cfg.MetricsPort >= 0 {
		if s.metrics, err = metrics.Start(ctx, cfg.MetricsHost, cfg.MetricsPort, cfg.Pprof, s.log); err != nil {
			return nil, err
		}
	}
	s.log.Info("starting", slog.String("command", command), slog.String("version", call.Version),
		slog.String("run_id", cfg.RunID), slog.Any("settings", cfg.Changed()))
	return s, nil
}

// writable says why a report cannot be written, before the run that it is about. What the file holds stays until there is something to put
// in its place.
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

// interrupted says whether there was a signal.
func (s *session) interrupted() bool { return s.once.Err() != nil }

func (s *session) close() {
	s.client.Close()
	if s.metrics != nil {
		s.metrics.Close()
	}
}

// apiURL is the api's address without a password that it may bear.
func (s *session) apiURL() string { return env.MaskURL(s.cfg.APIURL) }

// awaitReady waits until the api is ready to take orders.
func (s *session) awaitReady() error {
	deadline := time.Now().Add(s.cfg.ReadyTimeout)
	var logged time.Time
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.client.Ready(s.once)
		if err == nil {
			s.log.Info("API Server is ready!", slog.String("api", s.apiURL()))
			return nil
		}
		if time.Now().Add(pause).After(deadline) && !s.interrupted() {
			return fmt.Errorf("the api at %s was not ready within %s: %w", s.apiURL(), s.cfg.ReadyTimeout, err)
		}
		if time.Since(logged) >= time.Second {
			logged = time.Now()
			s.log.Info("API Server is not ready...", slog.Any("error", err))
		}
		if !wait.For(s.once, pause) {
			return s.once.Err()
		}
	}
}

// fail ends a command that has nothing to report.
func (s *session) fail(err error) error {
	if s.interrupted() && errors.Is(err, context.Canceled) {
		s.log.Warn("interrupted before there was anything to report")
		return exit(ExitInterrupted)
	}
	return err
}
