package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/metrics"
	"orderflow.example/services/loadgen/internal/screen"
)

// session is what every command has: settings, a log, connections to the api, and the two contexts that signals end.
type session struct {
	program *Program
	cfg     *config.Config
	command string
	log     *slog.Logger
	out     *screen.Terminal
	client  *client.Client
	metrics *metrics.Server // nil when it is off

	sending context.Context // ends with the first signal
	all     context.Context // ends with the second, or with the first when nothing is being sent any more
	cancel  context.CancelFunc

	begun       atomic.Bool // sending has begun
	sent        atomic.Bool // sending is over: the next signal ends everything
	interrupted atomic.Bool
	closed      chan struct{}
	background  sync.WaitGroup
}

func (p *Program) newSession(ctx context.Context, cfg *config.Config, command string) (*session, error) {
	for path, what := range map[string]string{cfg.ReportJSON: "REPORT_JSON", cfg.ReportHTML: "REPORT_HTML"} {
		if err := writable(path); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	terminal := &screen.Terminal{Out: p.Stderr}
	log := newLogger(terminal, isTerminal(p.Stderr), cfg)
	conns := cfg.Concurrency
	if cfg.Open() || command == "capacity" {
		conns = cfg.MaxInFlight
	}
	c, err := client.New(client.Options{
		URL: cfg.APIURL, Timeout: cfg.RequestTimeout, MaxConns: conns + cfg.AuditConcurrency + 4, UserAgent: "orderflow-loadgen/" + p.Version,
	})
	if err != nil {
		return nil, err
	}
	var served *metrics.Server
	if cfg.MetricsPort >= 0 {
		if served, err = metrics.Start(cfg.MetricsHost, cfg.MetricsPort); err != nil {
			return nil, err
		}
		log.Info("metrics", slog.String("addr", served.Addr))
	}
	s := &session{program: p, cfg: cfg, command: command, log: log, out: terminal, client: c, metrics: served, closed: make(chan struct{})}
	s.all, s.cancel = context.WithCancel(ctx)
	var stopSending context.CancelFunc
	s.sending, stopSending = context.WithCancel(s.all)
	s.background.Go(func() {
		defer stopSending()
		s.watchSignals(stopSending)
	})
	log.Info("start", slog.String("command", command), slog.String("version", p.Version), slog.String("run_id", cfg.RunID), slog.Any("settings", cfg.Changed()))
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

// watchSignals ends the sending with the first signal, or everything when nothing is being sent (not yet, or not any more); and everything with
// the next.
func (s *session) watchSignals(stopSending context.CancelFunc) {
	for {
		select {
		case <-s.closed:
			return
		case sig := <-s.program.Signals:
			first := !s.interrupted.Swap(true)
			if first && s.begun.Load() && !s.sent.Load() {
				s.log.Warn("interrupted: no more orders are sent; the audit of those that were follows (once more to leave at once)", slog.String("signal", sig.String()))
				stopSending()
				continue
			}
			s.log.Warn("interrupted: leaving with what there is", slog.String("signal", sig.String()))
			s.cancel()
			if !first {
				s.leaveSoon()
			}
		}
	}
}

// leaveGrace is how long the last words may take after the second signal.
const leaveGrace = 2 * time.Second

// leaveSoon ends the process when it does not end by itself: an output that hangs must not hold up a person who has asked twice.
func (s *session) leaveSoon() {
	if s.program.Exit == nil {
		return
	}
	s.background.Go(func() {
		timer := time.NewTimer(leaveGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.program.Exit(ExitInterrupted)
		case <-s.closed:
		}
	})
}

func (s *session) close() {
	close(s.closed)
	s.cancel()
	s.background.Wait()
	s.client.Close()
	if s.metrics != nil {
		if err := s.metrics.Close(); err != nil {
			s.log.Warn("close", slog.Any("error", err))
		}
	}
}

// fail reports a fault of loadgen's own.
func (s *session) fail(err error) int {
	if s.interrupted.Load() && errors.Is(err, context.Canceled) {
		s.log.Warn("interrupted before there was anything to report")
		return ExitInterrupted
	}
	s.log.Error("failed", slog.Any("error", err))
	return ExitFault
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
func (s *session) apiURL() string { return maskURL(s.cfg.APIURL) }

func maskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(an address that cannot be read)"
	}
	return u.Redacted()
}

func newLogger(w io.Writer, terminal bool, cfg *config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // the settings are checked: it is one of the four
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" || (cfg.LogFormat == "auto" && !terminal) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
