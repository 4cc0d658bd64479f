package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"orderflow.example/kit/listen"
	"orderflow.example/kit/ops"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/dashboard"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/durability"
	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/housekeeping"
	"orderflow.example/services/api/internal/httpapi"
	"orderflow.example/services/api/internal/metrics"
	"orderflow.example/services/api/internal/notify"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
	"orderflow.example/services/api/internal/schema"
)

// ownConnections are those that are not the pool's: monitor, writer and notifier have one each.
const ownConnections = 3

// viewersShare is the part of the connections that the dashboard's viewers may have: a quarter. Theirs are not closed for others.
const viewersShare = 4

// serve runs the service until ctx ends (the first signal), and then brings it to its end in order: readiness first, then
// requests, then what they have left to be written, and the connections last.
func serve(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	tokens := newTokenFiles(cfg, log)
	tokens.warn(ctx)
	counters := metrics.New(version)
	monitor := database.NewMonitor(cfg.Database, cfg.RequestTimeout, prepare(cfg, log), log)
	pool, err := database.NewPool(context.Background(), cfg.Database, cfg.DBMaxConns-ownConnections,
		database.Timeouts(cfg.RequestTimeout*4/5).With(database.Session{"plan_cache_mode": "force_custom_plan"}))
	if err != nil {
		return err
	}
	defer pool.Close()
	monitor.Follow(cfg.DatabaseURL.Route(), pool.Reset)
	notifier := notify.New(cfg.Database, cfg.QueueName, monitor, log)
	tracer, err := tracing.Start(&cfg.Settings, tracing.Process{Name: "orderflow-api", Version: version, Instance: instance()}, log)
	if err != nil {
		return err
	}
	defer tracer.Stop()
	durable := durability.New(durability.Options{Tables: schema.Tables(cfg.QueueName), Strict: cfg.Durability == "strict", Log: log})
	writer := orders.NewWriter(orders.WriterConfig{
		Database: cfg.Database,
		Route:    cfg.DatabaseURL.Route(),
		Queue:    cfg.QueueName,
		MaxBatch: cfg.WriteBatch,
		MaxQueue: cfg.WriteQueue,
		Timeout:  cfg.RequestTimeout,
		OnCommit: notifier.Kick,
		Observer: counters,
		Tracer:   tracer,
		Log:      log,

		Replicating: database.Replicating(pool),
		Durability:  durable,
	}, monitor)
	messages := queue.New(pool, cfg.QueueName)
	watcher := queue.NewWatcher(messages)
	defer watcher.Close()
	keeper := housekeeping.New(pool, housekeeping.Options{
		Queue: cfg.QueueName, OrderRetention: cfg.OrderRetention, DeadLetterRetention: cfg.DeadLetterRetention, Up: monitor.Up, Log: log,
	})
	limits := bounds(cfg, log)
	store, stories := orders.NewStore(pool), history.NewReader(pool, messages)
	var screen *dashboard.Dashboard
	if cfg.Dashboard == "on" {
		screen = dashboard.New(dashboard.Config{
			DB: pool, Store: store, History: stories, Queue: messages, Watcher: watcher, Monitor: monitor, Accepted: counters.Accepted, Log: log, Version: version, TraceURL: cfg.TraceURLTemplate,
			MaxViewers: limits.connections / viewersShare, Timeout: cfg.RequestTimeout,
		})
	}
	server := httpapi.New(httpapi.Config{
		Writer:         writer,
		Store:          store,
		History:        stories,
		Queue:          messages,
		Watcher:        watcher,
		Dashboard:      screen,
		Monitor:        monitor,
		Observer:       counters,
		Tracer:         tracer,
		Log:            log,
		Version:        version,
		RequestTimeout: cfg.RequestTimeout,
		BodyLimit:      int(cfg.BodyLimit),
		OrderBodyLimit: int(cfg.OrderBodyLimit),
		BodyBudget:     limits.bodies,
		Input:          orders.Input{Example: cfg.Input == "example"},
		APITokens:      tokens.api.now,
		AdminTokens:    tokens.admin.now,
		LogRequests:    cfg.LogRequests,
	})
	port, err := listen.Port(ctx, "API", cfg.APIHost, cfg.APIPort, limits.connections, log)
	if err != nil {
		return err
	}
	counters.Read(metrics.Sources{
		Risks: durability.Risks, Durability: durable.Findings, Strict: cfg.Durability == "strict",
		Queued: writer.Queued, Notified: notifier.Sent, Up: monitor.Up, Queue: watcher.Get, Housekeeping: keeper.State, Connections: port.Stats, Bodies: server.Bodies,
	})
	failed := make(chan error, 1)
	if cfg.MetricsPort >= 0 {
		second, err := ops.Start(ctx, ops.Options{
			Host: cfg.MetricsHost, Port: cfg.MetricsPort, Gatherer: counters.Registry, Profiler: cfg.Pprof, Alive: ops.Fine,
			Ready: func() (bool, any) { return readiness(server, monitor, writer, durable) },
		}, log)
		if err != nil {
			return errors.Join(err, port.Close())
		}
		defer second.Stop()
	}
	stopMonitor := background(monitor.Run)
	defer stopMonitor()
	stopDurable := background(func(ctx context.Context) { durable.Run(ctx, pool, monitor.Up) })
	defer stopDurable()
	stopNotifier := background(notifier.Run)
	defer stopNotifier()
	stopWriter := background(writer.Run)
	defer stopWriter()
	if screen != nil {
		defer background(screen.Run)()
	}
	stopKeeper := background(keeper.Run)
	defer stopKeeper()
	stopTokens := background(func(ctx context.Context) { tokens.follow(ctx, server.SetTokens) })
	defer stopTokens()
	stopSummary := background(func(ctx context.Context) { summarize(ctx, server, log) })
	defer stopSummary()
	stopServing := background(func(context.Context) { failed <- server.Serve(port) })
	defer stopServing()
	log.InfoContext(ctx, "serving", "address", port.Addr().String())

	select {
	case <-ctx.Done():
	case err := <-failed:
		return errors.Join(err, port.Close())
	}

	log.InfoContext(ctx, "shutting down", "delay", cfg.ShutdownDelay.String(), "drain_timeout", cfg.DrainTimeout.String())
	server.Drain()
	time.Sleep(cfg.ShutdownDelay) //nolint:forbidigo // there is nothing to wait for but the world taking note
	drain, cancel := context.WithTimeout(context.Background(), cfg.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		log.WarnContext(ctx, "requests were still under way at the end of the drain timeout", "error", err)
	}
	_ = port.Close() // it is closed, unless the signal came before serving had begun
	stopWriter()
	log.InfoContext(ctx, "stopped", "requests", server.Served())
	return nil
}

// instance tells this process from others in traces.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "api"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
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
func readiness(server *httpapi.Server, monitor *database.Monitor, writer *orders.Writer, durable *durability.Checker) (ok bool, details any) {
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
