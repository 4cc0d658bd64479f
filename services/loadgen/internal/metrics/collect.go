package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/services/loadgen/internal/measure"
)

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
