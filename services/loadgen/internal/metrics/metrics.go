// Package metrics serves a run's measures for Prometheus, and what one needs to look into the process, on a port of their own. It reads the
// recorder when it is scraped and keeps nothing itself.
package metrics

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

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

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("orderflow_loadgen_"+name, help, labels, nil)
}

var (
	ordersDesc   = desc("orders_total", "Orders by what became of their request: sent, accepted, refused, unknown (never answered), replayed.", "outcome")
	triesDesc    = desc("tries_total", "HTTP requests by answer: a status, or why there was none.", "answer")
	retriesDesc  = desc("retries_total", "Requests that were sent again after a fault.")
	failedDesc   = desc("failed_tries_total", "HTTP requests without the expected answer.")
	unheardDesc  = desc("committed_unheard_total", "Orders that had been committed though their first answer never came.", "cause")
	arrivalsDesc = desc("arrivals_total", "Open model: requests due, sent late, and dropped.", "state")
	flightDesc   = desc("in_flight", "Requests under way.")
	stallsDesc   = desc("stalls_total", "Times in which requests waited and none was answered.")
	postDesc     = desc("post_seconds", "From when an order was due (open model) or first sent (closed) to its answer.")
	serviceDesc  = desc("service_seconds", "One accepted try, from sending to answer.")
	queueDesc    = desc("queue_depth", "The queue's depth as the api tells it.")
	auditDesc    = desc("audit_orders", "Orders of the run by what the audit knows of them.", "state")
)

// Describe promises nothing: which metrics there are depends on how far the run is.
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect reads the recorder.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	if p := s.audit.Load(); p != nil {
		for state, n := range map[string]int{"accepted": p.Accepted, "completed": p.Completed, "dead": p.Dead, "pending": p.Pending, "missing": p.Missing} {
			ch <- prometheus.MustNewConstMetric(auditDesc, prometheus.GaugeValue, float64(n), state)
		}
	}
	w := s.run.Load()
	if w == nil {
		return
	}
	snap := w.recorder.Snapshot(time.Now())
	t := &snap.Totals
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(ordersDesc, t.Sent, "sent")
	counter(ordersDesc, t.Accepted, "accepted")
	counter(ordersDesc, t.Refused, "refused")
	counter(ordersDesc, t.Unknown, "unknown")
	counter(ordersDesc, t.Replayed, "replayed")
	for status, n := range t.Status {
		counter(triesDesc, n, strconv.Itoa(status))
	}
	for name, n := range t.Failures {
		counter(triesDesc, n, name)
	}
	counter(retriesDesc, t.Retries)
	counter(failedDesc, t.Failed)
	for cause, n := range t.Unheard {
		counter(unheardDesc, n, cause)
	}
	counter(arrivalsDesc, t.Due, "due")
	counter(arrivalsDesc, t.Late, "late")
	counter(arrivalsDesc, t.Dropped, "dropped")
	counter(stallsDesc, int64(len(snap.Stalls)))
	ch <- prometheus.MustNewConstMetric(flightDesc, prometheus.GaugeValue, float64(snap.InFlight))
	if snap.Queue != nil {
		ch <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(snap.Queue.Depth))
	}
	summary(ch, postDesc, w.recorder.Post())
	summary(ch, serviceDesc, w.recorder.Service())
}

func summary(ch chan<- prometheus.Metric, d *prometheus.Desc, h *measure.Histogram) {
	quantiles := map[float64]float64{}
	for _, q := range [...]float64{0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1} {
		quantiles[q] = h.Percentile(q * 100).Seconds()
	}
	ch <- prometheus.MustNewConstSummary(d, uint64(h.Count()), h.Mean().Seconds()*float64(h.Count()), quantiles)
}
