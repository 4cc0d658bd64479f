package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"orderflow.example/kit/listen"
	"orderflow.example/kit/ops"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/durability"
	"orderflow.example/services/api/internal/httpapi"
	"orderflow.example/services/api/internal/metrics"
	"orderflow.example/services/api/internal/orders"
)

// serve runs the service until ctx ends (the first signal), and then brings it to its end in order: readiness first, then
// requests, then what they have left to be written, and the connections last.
func serve(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	p, err := assemble(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	return p.run(ctx)
}

// run opens the ports, runs the parts until ctx ends or serving fails, and ends them.
func (p *parts) run(ctx context.Context) error {
	port, err := listen.Port(ctx, "API", p.cfg.APIHost, p.cfg.APIPort, p.limits.connections, p.log)
	if err != nil {
		return err
	}
	stopSecondPort, err := p.openSecondPort(ctx, port)
	if err != nil {
		return errors.Join(err, port.Close())
	}
	stopMonitor := background(p.monitor.Run)
	stopDurable := background(func(ctx context.Context) { p.durable.Run(ctx, p.pool, p.monitor.Up) })
	stopNotifier := background(p.notifier.Run)
	stopWriter := background(p.writer.Run)
	stopScreen := func() {}
	if p.screen != nil {
		stopScreen = background(p.screen.Run)
	}
	stopKeeper := background(p.keeper.Run)
	stopTokens := background(func(ctx context.Context) { p.tokens.follow(ctx, p.server.SetTokens) })
	stopSummary := background(func(ctx context.Context) { summarize(ctx, p.server, p.log) })
	failed := make(chan error, 1)
	stopServing := background(func(context.Context) { failed <- p.server.Serve(port) })
	p.log.InfoContext(ctx, "serving", "address", port.Addr().String())

	select {
	case <-ctx.Done():
		p.drain(ctx, port, stopWriter)
	case err = <-failed:
		err = errors.Join(err, port.Close())
	}
	// Each ends before those that it needs.
	for _, stop := range []func(){
		stopServing,
		stopSummary,
		stopTokens,
		stopKeeper,
		stopScreen,
		stopWriter, // it has ended already, unless serving failed
		stopNotifier,
		stopDurable,
		stopMonitor,
		stopSecondPort,
	} {
		stop()
	}
	return err
}

// openSecondPort serves metrics and probes, unless that is off, and returns what ends it. The metrics are also about the first port.
func (p *parts) openSecondPort(ctx context.Context, first *listen.Listener) (stop func(), err error) {
	p.counters.Read(metrics.Sources{
		Risks: durability.Risks, Durability: p.durable.Findings, Strict: p.cfg.Durability == "strict",
		Queued: p.writer.Queued, Notified: p.notifier.Sent, Up: p.monitor.Up, Queue: p.watcher.Get, Housekeeping: p.keeper.State,
		Connections: first.Stats, Bodies: p.server.Bodies,
	})
	if p.cfg.MetricsPort < 0 {
		return func() {}, nil
	}
	second, err := ops.Start(ctx, ops.Options{
		Host: p.cfg.MetricsHost, Port: p.cfg.MetricsPort, Gatherer: p.counters.Registry, Profiler: p.cfg.Pprof, Alive: ops.Fine,
		Ready: func() (bool, any) { return readiness(p.server, p.monitor, p.writer, p.durable) },
	}, p.log)
	if err != nil {
		return nil, err
	}
	return second.Stop, nil
}

// drain brings requests to their end. Readiness says no at once, and the world has some time to take note. Then nobody is let in any more, and
// who is in is answered. The writer ends last, when nobody is left who waits for it.
func (p *parts) drain(ctx context.Context, port *listen.Listener, stopWriter func()) {
	p.log.InfoContext(ctx, "shutting down", "delay", p.cfg.ShutdownDelay.String(), "drain_timeout", p.cfg.DrainTimeout.String())
	p.server.Drain()
	time.Sleep(p.cfg.ShutdownDelay) //nolint:forbidigo // there is nothing to wait for but the world taking note
	limited, cancel := context.WithTimeout(context.Background(), p.cfg.DrainTimeout)
	defer cancel()
	if err := p.server.Shutdown(limited); err != nil {
		p.log.WarnContext(ctx, "requests were still under way at the end of the drain timeout", "error", err)
	}
	_ = port.Close() // it is closed, unless the signal came before serving had begun
	stopWriter()
	p.log.InfoContext(ctx, "stopped", "requests", p.server.Served())
}

// background runs a part on a goroutine and returns what ends it and waits for that. It can be called twice.
func background(part func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { part(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// summarize writes a line a minute about what was served, when something was.
func summarize(ctx context.Context, server *httpapi.Server, log *slog.Logger) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	before := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := server.Served(); now != before {
			log.InfoContext(ctx, "served", "requests", now-before, "seconds", 60)
			before = now
		}
	}
}

// readiness is the probe's answer in detail, for the second port.
func readiness(server *httpapi.Server, monitor *database.Monitor, writer *orders.Writers, durable *durability.Checker) (ok bool, details any) {
	state, _ := monitor.State()
	reason := server.NotReady()
	var risks []string
	for _, f := range durable.Findings() {
		risks = append(risks, f.Text)
	}
	return reason == "", struct {
		Ready         bool      `json:"ready"`
		Reason        string    `json:"reason,omitempty"`
		Database      bool      `json:"database_up"`
		DatabaseSince time.Time `json:"database_since"`
		Server        string    `json:"database_server,omitempty"`
		Timeline      uint32    `json:"database_timeline,omitempty"`
		Pooler        string    `json:"pooler,omitempty"`
		Risks         []string  `json:"durability_risks,omitempty"`
		WriteQueue    int       `json:"write_queue"`
	}{
		reason == "", reason, state.Up, state.Since.UTC(), state.Server.String(), state.Server.Timeline,
		map[bool]string{true: "transaction mode"}[state.Pooled], risks, writer.Queued(),
	}
}
