package main

import (
	"context"
	"log/slog"
	"os"

	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/ops"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
	"orderflow.example/services/consumer/internal/worker"
)

// consume wires the parts and runs them until a signal.
func consume(ctx context.Context, s *config.Config, log *slog.Logger, signals <-chan os.Signal) int {
	log.Info("Configuration", "version", version, "config", s)
	m := metrics.New(version, s.QueueName, s.Handler)
	server, err := pg.NewServer(s.DatabaseURL, s.ConsumerID, log, pg.Observer{
		Connected: func(link string, again bool) {
			if again {
				m.Reconnects.WithLabelValues(link).Inc()
			}
		},
		Reachable: func(ok bool) { m.DatabaseUp.Set(map[bool]float64{true: 1}[ok]) },
	})
	if err != nil {
		log.Error("Cannot start", "error", err)
		return exitConfiguration
	}
	m.Registry.MustRegister(doctor.NewCollector(server, queue.New(s.QueueName, false)))
	h, closeHandler := newHandler(s, log)
	defer closeHandler()
	consumer := worker.New(worker.Settings{
		ID:             s.ConsumerID,
		Queue:          s.QueueName,
		Batch:          s.BatchSize,
		Concurrency:    s.Concurrency,
		Prefetch:       s.Prefetch,
		MaxAttempts:    s.MaxAttempts,
		Visible:        s.Visibility(),
		HandlerTimeout: s.HandlerTimeout,
		Drain:          s.Drain,
		Poll:           s.Poll,
		Backoff:        backoff.Policy{Base: s.BackoffBase, Max: s.BackoffMax, Multiplier: s.BackoffMultiplier},
	}, server, h, log, m)

	if s.MetricsPort >= 0 {
		listener, err := ops.Start(ctx, s.MetricsHost, s.MetricsPort, s.Pprof, m.Registry, consumer.Alive, consumer.Ready)
		if err != nil {
			log.Error("Cannot start", "error", err)
			return exitFault
		}
		defer listener.Stop()
		log.Info("Metrics and probes", "address", listener.Address())
	}

	consuming, drain := context.WithCancel(ctx)
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(consuming) }() // this function waits for it, or exits the process
	for signalled := false; ; signalled = true {
		select {
		case sig := <-signals:
			if signalled {
				log.Error("Second signal: exiting at once; what is in flight ends with its visibility timeout", "signal", sig.String())
				return exitFault
			}
			log.Info("Signal received", "signal", sig.String())
			drain()
		case err := <-ended:
			if err != nil {
				log.Error("Consumer ended", "error", err)
				return exitFault
			}
			log.Info("Consumer ended")
			return exitOK
		}
	}
}

func newHandler(s *config.Config, log *slog.Logger) (h handler.Handler, closeHandler func()) {
	if s.Handler == "webhook" {
		w := handler.NewWebhook(s.WebhookURL, s.WebhookSecret, s.Concurrency, s.HandlerTimeout)
		return w, w.Close
	}
	log.Warn("HANDLER=simulate: orders are completed without anything being done with them; for real orders set HANDLER=webhook")
	return &handler.Simulate{Work: s.SimulateWork, Fail: s.SimulateFailures == "example", Log: log}, func() {}
}
