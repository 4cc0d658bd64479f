package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"orderflow.example/kit/env"
	"orderflow.example/kit/ops"
	"orderflow.example/kit/program"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/receive/faults"
	"orderflow.example/services/loadgen/internal/receive/memory"
)

// errAccount is loadgen's code for an account that does not add up.
const errAccount = program.ExitError(99)

// requestTimeout is how long one question to the api may take.
const requestTimeout = 10 * time.Second

// Run is the command: it receives until the first signal, and then accounts for everything.
func Run(ctx context.Context, call *program.Call) (err error) {
	cfg, err := Load(call.Lookup)
	if err != nil {
		return err
	}
	log := call.Log
	log.Info("starting", slog.String("command", "receive"), slog.String("version", call.Version), slog.Any("settings", env.Changed(cfg)))
	r := &receiver{
		keys: newKeyring(cfg, log), tolerance: cfg.Tolerance,
		plan:    faults.NewPlan(cfg.Faults, cfg.FaultsFor, cfg.Seed),
		maxBody: int64(cfg.MaxBody), slowest: slowest, room: make(chan struct{}, atOnce), log: log,
		counts: map[string]int64{}, ordered: map[string]int64{},
	}
	if r.memory, err = memory.Open(cfg.State, cfg.MaxMessages, log); err != nil {
		return fmt.Errorf("RECEIVER_STATE: %w", err)
	}
	defer func() { err = errors.Join(err, r.memory.Close()) }()
	if c := r.memory.Counts(); c.IDs > 0 {
		log.Info("remembered", slog.Int("ids", c.IDs), slog.Int("repetitions", c.Repetitions))
	}
	var api *client.Client
	if cfg.APIURL != "" {
		api, err = client.New(client.Options{
			URL: cfg.APIURL, Token: config.FirstToken(cfg.APIToken), Timeout: requestTimeout, MaxConns: 4, UserAgent: "orderflow-loadgen/" + call.Version,
		})
		if err != nil {
			return err
		}
		defer api.Close()
	}
	webhooks := &presence{handler: r, host: cfg.Host, port: cfg.Port, log: log}
	if err := webhooks.come(ctx); err != nil {
		return err
	}
	log.Info("receiving webhooks", slog.String("address", webhooks.address))
	second := &control{receiver: r, api: api, run: cfg.RunID, admins: cfg.AdminToken, log: log, one: make(chan struct{}, 1)}
	registry := prometheus.NewRegistry()
	registry.MustRegister(r, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	port, err := ops.Start(ctx, ops.Options{
		Host: cfg.MetricsHost, Port: cfg.MetricsPort, Gatherer: registry, Alive: ops.Fine, Ready: second.ready, Handlers: second.handlers(),
	}, log)
	if err != nil {
		webhooks.leave(0)
		return err
	}
	err = r.serve(ctx, webhooks, r.memory.Failed())
	port.Stop()
	if err != nil {
		return err
	}
	return r.finish(call, cfg, api)
}

// finish accounts for everything, and says so. A second signal ends it.
func (r *receiver) finish(call *program.Call, cfg *Config, api *client.Client) error {
	a, err := r.account(call.Twice, api, cfg.RunID)
	if err != nil {
		a.Faults = append(a.Faults, err.Error())
	}
	if cfg.ReportJSON != "" {
		content, failed := json.MarshalIndent(a, "", "  ")
		if failed == nil {
			failed = os.WriteFile(cfg.ReportJSON, append(content, '\n'), 0o644) //nolint:gosec // a report is there to be read by others
		}
		err = errors.Join(err, failed)
	}
	a.Text(call.Stdout)
	switch {
	case err != nil:
		return err
	case len(a.Faults) > 0:
		return errAccount
	}
	return nil
}
