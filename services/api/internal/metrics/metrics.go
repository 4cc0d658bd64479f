// Package metrics counts what the service does and shows it on a second port, beside the profiler and the probes' details, away
// from clients. Counting must never block or fail a request.
package metrics

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"orderflow.example/kit/listen"
	"orderflow.example/kit/ops"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/durability"
	"orderflow.example/services/api/internal/housekeeping"
	"orderflow.example/services/api/internal/http1"
	"orderflow.example/services/api/internal/queue"
)

// Metrics are the service's counters. It is the observer of the HTTP server and of the writer.
type Metrics struct {
	Registry *prometheus.Registry // what is scraped

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	commits  prometheus.Counter
	commit   prometheus.Histogram
	batch    prometheus.Histogram
	orders   prometheus.Counter
	replays  prometheus.Counter
	failures *prometheus.CounterVec

	accepted atomic.Int64 // what orders counts, which cannot be read
}

// Sources are what is read when the metrics are.
type Sources struct {
	Queued   func() int   // orders waiting to be written
	Notified func() int64 // notifications sent
	Up       func() bool  // the database

	Risks      []string // to durability
	Durability func() []durability.Finding
	Strict     bool // no order is accepted while there is one
	Queue      func(context.Context) (queue.Snapshot, error)

	Housekeeping func() housekeeping.State

	Connections func() listen.Stats // of clients
	Bodies      func() http1.Stats
}

// New makes the metrics of a service of a version.
func New(version string) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_api_requests_total", Help: "HTTP requests answered.",
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(ops.Histogram(prometheus.HistogramOpts{
			Name: "orderflow_api_request_duration_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}), []string{"method", "route"}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_api_commits_total", Help: "Transactions in which orders were written or looked up.",
		}),
		commit: prometheus.NewHistogram(ops.Histogram(prometheus.HistogramOpts{
			Name: "orderflow_api_commit_duration_seconds", Help: "Time of such a transaction.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		})),
		batch: prometheus.NewHistogram(ops.Histogram(prometheus.HistogramOpts{
			Name: "orderflow_api_commit_requests", Help: "Requests that shared such a transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		})),
		orders: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_api_orders_total", Help: "Orders written, each with its message.",
		}),
		replays: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_api_idempotent_replays_total", Help: "Requests whose idempotency key was known.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_api_commit_failures_total", Help: "Transactions that failed, and connections for them that could not be made, by what that meant.",
		}, []string{"kind"}),
	}
	for kind := database.Lost; kind <= database.Fault; kind++ { // there from the start, so that a rate over them sees the first one
		m.failures.WithLabelValues(kind.String())
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_api_info", Help: "Always 1; the label has the version.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	m.Registry.MustRegister(m.requests, m.duration, m.commits, m.commit, m.batch, m.orders, m.replays, m.failures, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Read adds what is read from elsewhere.
func (m *Metrics) Read(s Sources) {
	m.Registry.MustRegister(riskGauges(s)...)
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	m.Registry.MustRegister(
		queueCollector{s.Up, s.Queue},
		gauge("orderflow_api_write_queue_orders", "Orders that wait for their transaction.", func() float64 { return float64(s.Queued()) }),
		counter("orderflow_api_notifications_total", "Notifications sent to consumers.", s.Notified),
		gauge("orderflow_api_stranded_orders", "Pending orders without a message, as far as the search has come: nobody will process them.",
			func() float64 { return float64(s.Housekeeping().Stranded) }),
		gauge("orderflow_api_stranded_search_age_seconds",
			"How long ago the latest commit was that this search has come to; while it has come to none, how long this process has been running.",
			func() float64 { return max(0, time.Since(s.Housekeeping().LookedAt).Seconds()) }),
		counter("orderflow_api_retention_orders_deleted_total", "Orders that were deleted because ORDER_RETENTION or DEAD_LETTER_RETENTION was over.",
			func() int64 { return s.Housekeeping().OrdersDeleted }),
		counter("orderflow_api_retention_dead_letters_deleted_total", "Dead letters that were deleted because DEAD_LETTER_RETENTION was over.",
			func() int64 { return s.Housekeeping().LettersDeleted }),
		counter("orderflow_api_housekeeping_failures_total", "Steps of the search and of the deletion that failed.",
			func() int64 { return s.Housekeeping().Failures }),
		gauge("orderflow_api_connections", "Connections of clients.", func() float64 { return float64(s.Connections().Open) }),
		gauge("orderflow_api_connections_limit", "Connections of clients that there may be: MAX_CONNECTIONS, or what files and memory allow.",
			func() float64 { return float64(s.Connections().Most) }),
		counter("orderflow_api_connections_evicted_total", "Connections that were closed to make room for others.", func() int64 { return s.Connections().Evicted }),
		counter("orderflow_api_accept_failures_total", "Attempts to accept a connection that failed, for want of descriptors or memory.",
			func() int64 { return s.Connections().Failed }),
		gauge("orderflow_api_body_budget_used_bytes", "Memory that large requests and answers have.", func() float64 { return float64(s.Bodies().Used) }),
		gauge("orderflow_api_body_budget_limit_bytes", "Memory that they may have: BODY_BUDGET.", func() float64 { return float64(s.Bodies().Size) }),
		counter("orderflow_api_body_budget_refused_total", "Large requests and answers for which there was no room.", func() int64 { return s.Bodies().Refused }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orderflow_api_database_up", Help: "1 while the database can be used.",
		}, func() float64 {
			if s.Up() {
				return 1
			}
			return 0
		}),
	)
}

// riskGauges are 1 for each risk that there is.
func riskGauges(s Sources) (all []prometheus.Collector) {
	for _, risk := range s.Risks {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "orderflow_api_durability_risk",
			Help:        "1 while a crash or a failover would lose accepted orders for this reason; orders: whether they are accepted or refused meanwhile.",
			ConstLabels: prometheus.Labels{"risk": risk, "orders": map[bool]string{false: "accepted", true: "refused"}[s.Strict]},
		}, func() float64 {
			for _, f := range s.Durability() {
				if f.Risk == risk {
					return 1
				}
			}
			return 0
		}))
	}
	return all
}

// Request counts an HTTP request. traceID is empty where no trace is recorded.
func (m *Metrics) Request(method, route string, status int, took time.Duration, traceID string) {
	m.requests.WithLabelValues(method, route, statusText(status)).Inc()
	ops.Observe(m.duration.WithLabelValues(method, route), took.Seconds(), traceID)
}

func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 201:
		return "201"
	}
	return strconv.Itoa(status)
}

// Committed counts a transaction of the writer. traceID is that of one of its requests, empty when none is recorded.
func (m *Metrics) Committed(requests, orders int, took time.Duration, traceID string) {
	m.commits.Inc()
	ops.Observe(m.commit, took.Seconds(), traceID)
	m.batch.Observe(float64(requests))
	m.orders.Add(float64(orders))
	m.accepted.Add(int64(orders))
}

// Accepted is the number of orders written so far.
func (m *Metrics) Accepted() int64 { return m.accepted.Load() }

// Replayed counts a request whose idempotency key was known.
func (m *Metrics) Replayed() { m.replays.Inc() }

// Failed counts a transaction of the writer, or a connection for one, that failed.
func (m *Metrics) Failed(kind database.Kind) { m.failures.WithLabelValues(kind.String()).Inc() }
