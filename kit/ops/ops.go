// Package ops owns a program's second port: metrics, probes and profiles, for those who run it. It must never be in the way of the work,
// nor do anything because somebody probes but read what is known already.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow.example/kit/listen"
)

// Probe answers whether all is well. The details become the answer's JSON; a string becomes its member detail, beside the status.
type Probe func() (ok bool, details any)

// Fine is the probe of what has nothing to say but that it answers.
func Fine() (ok bool, details any) {
	return true, map[string]string{"status": "ok"}
}

// Options are what the port serves, and where.
type Options struct {
	Host     string // empty: all addresses
	Port     int    // 0: any free one
	Gatherer prometheus.Gatherer
	Alive    Probe
	Ready    Probe
	// Profiler serves Go's: it shows what is in memory and in the command line, and can keep a core busy.
	Profiler bool
	// Handlers are what else the port serves, by pattern ("GET /account").
	Handlers map[string]http.Handler
}

// Server serves the port.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{}
}

// Start listens and serves until [Server.Stop].
func Start(ctx context.Context, o Options, log *slog.Logger) (*Server, error) {
	listener, err := listen.Port(ctx, "METRICS", o.Host, o.Port, listen.SecondPort, log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		http: &http.Server{
			Handler:           routes(o),
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      2 * time.Minute, // also the longest profile
			IdleTimeout:       2 * time.Minute,
			ConnState:         listen.Track,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		listener: listener,
		done:     make(chan struct{}),
	}
	go func() { // Stop waits for it
		defer close(s.done)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the port of metrics and probes is closed", "error", err)
		}
	}()
	log.Info("serving metrics", "address", s.Address())
	return s, nil
}

func routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true, // where asked for: only there exemplars have a place
	}))
	mux.Handle("GET /livez", answer(o.Alive))
	mux.Handle("GET /readyz", answer(o.Ready))
	for pattern, handler := range o.Handlers {
		mux.Handle(pattern, handler)
	}
	if o.Profiler {
		// One in a hundred contended locks, and what blocks for 0.1 ms: enough to find what others wait for, and next to no cost.
		runtime.SetMutexProfileFraction(100)
		runtime.SetBlockProfileRate(int(100 * time.Microsecond))
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func answer(probe Probe) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok, details := probe()
		status, word := http.StatusOK, "ok"
		if !ok {
			status, word = http.StatusServiceUnavailable, "unavailable"
		}
		if text, is := details.(string); is {
			details = map[string]string{"status": word, "detail": text}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(details) // whoever asked may be gone
	})
}

// Address is where the port is.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Stop ends it. Requests that take longer than a moment, of somebody who is profiling, are cut off.
func (s *Server) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // nothing more can be done
	}
	<-s.done
}
