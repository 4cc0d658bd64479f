package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/kit/ops"
	"orderflow.example/kit/program"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/gating"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/webhook"
	"orderflow.example/services/consumer/internal/worker"
)

// consume wires the parts and runs them until a signal.
func (a *App) consume(ctx context.Context, s *config.Config, call *program.Call) error {
	return a.Consume(ctx, s, call.Log)
}

// Consume wires the parts and runs them until ctx ends, and all is drained.
func (a *App) Consume(ctx context.Context, s *config.Config, log *slog.Logger) error {
	a.setCollector()
	slog.SetDefault(log) // for libraries
	log.Info("starting", "service", "consumer", "version", a.Version, "config", s)
	s.DatabaseURL.Note(log)
	tracer, err := tracing.Start(&s.Settings, tracing.Process{Name: "orderflow-consumer", Version: a.Version, Instance: s.ConsumerID}, log)
	if err != nil {
		return err
	}
	defer tracer.Stop()
	m := metrics.New(a.Version, s.QueueName, s.Handler)
	server := pg.NewServer(s.DatabaseURL, s.ConsumerID, log, pg.Observer{
		Connected: func(link string, again bool) {
			if again {
				m.Reconnects.WithLabelValues(link).Inc()
			}
		},
		Reachable: func(ok bool) { m.DatabaseUp.Set(map[bool]float64{true: 1}[ok]) },
	})
	m.Registry.MustRegister(doctor.NewCollector(server, queue.New(s.QueueName, queue.Description{}), effectFunction(s)))
	h, endHandler, err := a.handler(s, log, m)
	if err != nil {
		return err
	}
	defer endHandler()
	consumer := worker.New(workerSettings(s, tracer), server, h, log, m)

	if s.MetricsPort >= 0 {
		all := prometheus.Gatherers{m.Registry}
		if a.Metrics != nil {
			all = append(all, a.Metrics)
		}
		port, err := ops.Start(ctx, ops.Options{
			Host: s.MetricsHost, Port: s.MetricsPort, Gatherer: all, Profiler: s.Pprof, Alive: probe(consumer.Alive), Ready: readiness(consumer, server),
		}, log)
		if err != nil {
			return err
		}
		defer port.Stop()
	}
	publisher := doctor.NewPublisher(server, queue.New(s.QueueName, queue.Description{}), effectFunction(s), s.ConsumerID, s.Handler, log)
	publishing, stopPublishing := context.WithCancel(ctx)
	var published sync.WaitGroup
	published.Go(func() { publisher.Run(publishing) })
	defer published.Wait()
	defer stopPublishing()
	if err := consumer.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// workerSettings are those that the pipeline is to know.
func workerSettings(s *config.Config, tracer *tracing.Tracer) worker.Settings {
	return worker.Settings{
		ID:             s.ConsumerID,
		Queue:          s.QueueName,
		Batch:          s.BatchSize,
		Concurrency:    s.Concurrency,
		Prefetch:       s.Prefetch,
		HeldBytes:      int64(s.PrefetchBytes),
		MessageBytes:   int32(s.MaxMessageBytes),
		MaxAttempts:    s.MaxAttempts,
		MaxCrashes:     s.MaxCrashes,
		Visible:        s.Visibility(),
		HandlerTimeout: s.HandlerTimeout,
		AckWorkLanes:   s.EffectConnections,
		Drain:          s.Drain,
		Poll:           s.Poll,
		Backoff:        backoff.Policy{Base: s.BackoffBase, Max: s.BackoffMax, Multiplier: s.BackoffMultiplier},
		Breaker: gating.Breaker{
			Share: s.BreakerShare, Least: s.BreakerAttempts, ProbeFirst: s.BreakerProbeInterval, ProbeMost: s.BreakerProbeMax,
		},
		Tracer: tracer,
	}
}

// probe is one of the consumer's for the port of probes, which shows its reason.
func probe(ask func() (ok bool, why string)) ops.Probe {
	return func() (bool, any) { return ask() }
}

// readiness is the probe's answer, and which server that is about.
func readiness(consumer *worker.Consumer, server *pg.Server) ops.Probe {
	return func() (bool, any) {
		ok, why := consumer.Ready()
		status, at := "ok", server.At()
		if !ok {
			status = "unavailable"
		}
		return ok, struct {
			Status   string `json:"status"`
			Detail   string `json:"detail"`
			Server   string `json:"database_server,omitempty"`
			Timeline uint32 `json:"database_timeline,omitempty"`
		}{status, why, at.String(), at.Timeline}
	}
}

// handler makes the handler that the settings name, unless the program has one of its own. The caller ends it.
func (a *App) handler(s *config.Config, log *slog.Logger, m *metrics.Metrics) (h handler.Handler, end func(), err error) {
	switch s.Handler {
	case ownHandler:
		return a.Handler, func() {}, nil
	case "sql":
		return effectFunction(s), func() {}, nil
	case "webhook":
		w, err := webhook.New(webhook.Settings{
			URL: s.WebhookURL, Keys: s.Keys, Headers: s.Headers, Files: s.Files, Timeout: s.HandlerTimeout, Concurrency: s.Concurrency,
			UserAgent: "orderflow-consumer/" + a.Version, Log: log,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("webhook: %w", err)
		}
		m.SigningKeys(w.SigningKeys)
		if len(s.Keys) == 0 {
			log.Warn("deliveries are not signed: the receiver cannot tell them from anybody's; set WEBHOOK_SECRETS")
		} else {
			log.Info("deliveries are signed", "keys", s.Keys.String())
		}
		return w, w.Close, nil
	}
	log.Warn("HANDLER=simulate: orders are completed, and nothing is done with them; for real orders set HANDLER=webhook or HANDLER=sql")
	return &handler.Simulate{Work: s.SimulateWork, Fail: s.SimulateFailures == "example", Crash: s.SimulateCrash, Log: log}, func() {}, nil
}

// effectFunction is the one of HANDLER=sql; nil with another handler.
func effectFunction(s *config.Config) *effect.Function {
	if s.Handler != "sql" {
		return nil
	}
	name, _ := effect.ParseName(s.EffectFunction) // it has been checked
	return effect.NewFunction(name)
}
