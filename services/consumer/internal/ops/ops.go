// Package ops owns the second HTTP listener: metrics, probes and profiles for those who run the consumer. It must never be
// in the way of the work, nor ask the database because somebody probes.
package ops

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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow.example/kit/listen"
)

// Probe answers whether all is well, and says why in either case.
type Probe func() (ok bool, why string)

// Server is the listener.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{}
}

// Start listens on a host (empty: all addresses) and port (0: any free one) and serves until Stop. The profiler is served when
// profiling is true: it shows what is in memory and in the command line, and can keep a core busy.
func Start(ctx context.Context, host string, port int, profiling bool, gatherer prometheus.Gatherer, alive, ready Probe, log *slog.Logger) (*Server, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.Handle("GET /livez", answer(alive))
	mux.Handle("GET /readyz", answer(ready))
	if profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}

	listener, err := listen.TCP(ctx, net.JoinHostPort(host, strconv.Itoa(port)), listen.SecondPort, log)
	if err != nil {
		return nil, fmt.Errorf("METRICS_HOST and METRICS_PORT: %w", err)
	}
	s := &Server{
		http: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      2 * time.Minute, // also the longest profile
			IdleTimeout:       time.Minute,
			ConnState:         listen.Track,
		},
		listener: listener,
		done:     make(chan struct{}),
	}
	go func() { // Stop waits for it
		defer close(s.done)
		_ = s.http.Serve(listener) // always ErrServerClosed, or a listener that nobody can use any more
	}()
	return s, nil
}

// Address is where the listener listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Stop ends the listener; requests that take longer than a moment are cut off.
func (s *Server) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = s.http.Close() // nothing more can be done
	}
	<-s.done
}

func answer(probe Probe) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok, why := probe()
		body := map[string]any{"status": "ok", "detail": why}
		code := http.StatusOK
		if !ok {
			body["status"], code = "unavailable", http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body) // the prober has gone, if anything
	})
}
