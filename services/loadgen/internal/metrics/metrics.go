// Package metrics serves a run's measures for Prometheus, and what one needs to look into the process, on a port of their own. It reads the
// recorder when it is scraped and keeps nothing itself.
package metrics

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"orderflow.example/kit/ops"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
)

// Server serves them from Start until Close.
type Server struct {
	run   atomic.Pointer[watched]
	audit atomic.Pointer[audit.Progress]
	port  *ops.Server
}

type watched struct{ recorder *measure.Recorder }

// Start listens on a host (empty: all addresses) and a port (0: any free one). The profiler is served when profiling is true.
func Start(ctx context.Context, host string, port int, profiling bool, log *slog.Logger) (*Server, error) {
	s := &Server{}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	s.port, err = ops.Start(ctx, ops.Options{Host: host, Port: port, Gatherer: registry, Profiler: profiling, Alive: ops.Fine, Ready: s.ready}, log)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Watch says whose measures to serve from now on.
func (s *Server) Watch(r *measure.Recorder) { s.run.Store(&watched{recorder: r}) }

// Audit takes in the audit's progress.
func (s *Server) Audit(p audit.Progress) { s.audit.Store(&p) }

// Address is where the port is.
func (s *Server) Address() string { return s.port.Address() }

// Close ends it.
func (s *Server) Close() { s.port.Stop() }

func (s *Server) ready() (ok bool, details any) {
	return true, map[string]any{"status": "ok", "sending": s.run.Load() != nil, "auditing": s.audit.Load() != nil}
}
