// Package metrics serves a run's measures for Prometheus, and what one needs to look into the process, on a port of their own. It reads the
// recorder when it is scraped and keeps nothing itself.
package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow.example/kit/listen"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
)

// Server serves them from Start until Close.
type Server struct {
	Addr string // where it listens, once started

	run   atomic.Pointer[watched]
	audit atomic.Pointer[audit.Progress]
	http  *http.Server
	done  sync.WaitGroup
}

type watched struct{ recorder *measure.Recorder }

// Start listens on a host (empty: all addresses) and a port (0: any free one). The profiler is served when profiling is true.
func Start(host string, port int, profiling bool, log *slog.Logger) (*Server, error) {
	l, err := listen.TCP(context.Background(), net.JoinHostPort(host, strconv.Itoa(port)), listen.SecondPort, log)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s := &Server{Addr: l.Addr().String()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", ok)
	mux.HandleFunc("GET /readyz", s.ready)
	if profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ConnState: listen.Track}
	s.done.Go(func() { _ = s.http.Serve(l) }) // it ends with Close, and says nothing else
	return s, nil
}

// Watch says whose measures to serve from now on.
func (s *Server) Watch(r *measure.Recorder) { s.run.Store(&watched{recorder: r}) }

// Audit takes in the audit's progress.
func (s *Server) Audit(p audit.Progress) { s.audit.Store(&p) }

// Close ends it.
func (s *Server) Close() error {
	err := s.http.Close()
	s.done.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

func ok(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, `{"status":"ok"}`)
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	state := map[string]any{"status": "ok", "sending": s.run.Load() != nil, "auditing": s.audit.Load() != nil}
	_ = json.NewEncoder(w).Encode(state) // a client that is gone cannot be told
}
