package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

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

// ownConnections are those that are not the pool's: monitor, writer, notifier and, where there are enough for the pool as well, the second
// writer have one each.
func ownConnections(all int) (own int, secondWriter bool) {
	const fewest, enough = 3, 6
	if all < enough {
		return fewest, false
	}
	return fewest + 1, true
}

// viewersShare is the part of the connections that the dashboard's viewers may have: a quarter. Theirs are not closed for others.
const viewersShare = 4

// parts are what serves. Each has been given what it needs; [parts.run] starts those that run by themselves.
type parts struct {
	cfg      *config.Config
	log      *slog.Logger
	limits   limits
	tokens   *tokenFiles
	counters *metrics.Metrics
	pool     *pgxpool.Pool
	monitor  *database.Monitor
	notifier *notify.Notifier
	tracer   *tracing.Tracer
	durable  *durability.Checker
	writer   *orders.Writers
	watcher  *queue.Watcher
	keeper   *housekeeping.Keeper
	screen   *dashboard.Dashboard // nil: off
	server   *httpapi.Server
}

// assemble makes the parts, each from those above it. Nothing is asked of the database yet.
func assemble(ctx context.Context, cfg *config.Config, log *slog.Logger) (*parts, error) {
	tokens := newTokenFiles(cfg, log)
	tokens.warn(ctx)
	counters := metrics.New(version)
	monitor := database.NewMonitor(cfg.Database, cfg.RequestTimeout, prepare(cfg, log), log)
	own, secondWriter := ownConnections(cfg.DBMaxConns)
	pool, err := database.NewPool(context.Background(), cfg.Database, cfg.DBMaxConns-own,
		database.Timeouts(cfg.RequestTimeout*4/5).With(database.Session{"plan_cache_mode": "force_custom_plan"}))
	if err != nil {
		return nil, err
	}
	monitor.Follow(cfg.DatabaseURL.Route(), pool.Reset)
	notifier := notify.New(cfg.Database, cfg.QueueName, monitor, log)
	tracer, err := tracing.Start(&cfg.Settings, tracing.Process{Name: "orderflow-api", Version: version, Instance: instance()}, log)
	if err != nil {
		pool.Close()
		return nil, err
	}
	durable := durability.New(durability.Options{Tables: schema.Tables(cfg.QueueName), Strict: cfg.Durability == "strict", Log: log})
	writer := orders.NewWriters(orders.WriterConfig{
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
	}, secondWriter, monitor)
	messages := queue.New(pool, cfg.QueueName)
	watcher := queue.NewWatcher(messages)
	keeper := housekeeping.New(pool, housekeeping.Options{
		Queue: cfg.QueueName, OrderRetention: cfg.OrderRetention, DeadLetterRetention: cfg.DeadLetterRetention, Up: monitor.Up, Log: log,
	})
	limits := bounds(cfg, log)
	store, stories := orders.NewStore(pool), history.NewReader(pool, messages)
	var screen *dashboard.Dashboard
	if cfg.Dashboard == "on" {
		screen = dashboard.New(dashboard.Config{
			DB: pool, Store: store, History: stories, Queue: messages, Watcher: watcher, Monitor: monitor,
			Accepted: counters.Accepted, Log: log, Version: version, TraceURL: cfg.TraceURLTemplate,
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
	return &parts{
		cfg: cfg, log: log, limits: limits, tokens: tokens, counters: counters, pool: pool, monitor: monitor, notifier: notifier,
		tracer: tracer, durable: durable, writer: writer, watcher: watcher, keeper: keeper, screen: screen, server: server,
	}, nil
}

// close ends what is left when nothing runs any more: looks at the queue, then spans that are still to be sent, and the connections last.
func (p *parts) close() {
	p.watcher.Close()
	p.tracer.Stop()
	p.pool.Close()
}

// instance tells this process from others in traces.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "api"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
