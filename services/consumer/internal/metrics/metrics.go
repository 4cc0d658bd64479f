// Package metrics owns the consumer's Prometheus metrics: their names, meanings and buckets. It must never compute
// anything that costs more than an atomic addition.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"orderflow.example/kit/ops"
)

// Metrics are the consumer's instruments.
type Metrics struct {
	Registry *prometheus.Registry

	Received   prometheus.Counter
	Unanswered prometheus.Counter
	Processed  prometheus.Counter
	Failed     *prometheus.CounterVec // by kind
	Retried    prometheus.Counter
	Dead       *prometheus.CounterVec // by reason
	Released   prometheus.Counter
	Openings   prometheus.Counter
	Probes     *prometheus.CounterVec // by result
	LeaseLost  *prometheus.CounterVec // by the operation that noticed
	Isolated   prometheus.Counter
	Locked     *prometheus.CounterVec // by operation
	Heartbeats prometheus.Counter
	Extended   prometheus.Counter
	Wakeups    *prometheus.CounterVec // by cause
	Reconnects *prometheus.CounterVec // by link

	BreakerOpen    prometheus.Gauge
	OwnBreakerOpen prometheus.Gauge
	Paused         prometheus.Gauge
	RateLimit      prometheus.Gauge
	Prefetch       prometheus.Gauge
	ListenerUp     prometheus.Gauge
	DatabaseUp     prometheus.Gauge
	SchemaReady    prometheus.Gauge

	HandlerSeconds   prometheus.Histogram
	LatencySeconds   prometheus.Histogram
	PickupSeconds    prometheus.Histogram
	FetchBatch       prometheus.Histogram
	SettleBatch      *prometheus.HistogramVec // by operation
	StatementSeconds *prometheus.HistogramVec // by operation
}

// New makes the instruments on a registry of their own.
func New(version, queue, handler string) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	f := factory{registry}
	m := &Metrics{
		Registry: registry,

		Received:   f.counter("messages_received_total", "Messages read from the queue."),
		Unanswered: f.counter("messages_unanswered_total", "Messages read whose last delivery had no answer: their consumer died, or was cut off."),
		Processed:  f.counter("messages_processed_total", "Messages whose effect was committed and that were deleted."),
		Failed:     f.counters("messages_failed_total", "Attempts that failed: error, permanent, panic, throttled, timeout, unavailable or write. Those that the breaker does not count are among them.", "kind"),
		Retried:    f.counter("messages_retried_total", "Failed messages that were given back to be tried again."),
		Dead:       f.counters("messages_dead_total", "Messages moved to the dead letters.", "reason"),
		Released:   f.counter("messages_released_total", "Messages handed back without an attempt."),
		Openings:   f.counter("breaker_openings_total", "Times that this consumer has seen the breaker open."),
		Probes:     f.counters("breaker_probes_total", "Probes of this consumer while the breaker was open: answered, failed, or unused when there was nothing to probe with.", "result"),
		LeaseLost:  f.counters("lease_lost_total", "Leases that another consumer had taken over when we came to use them.", "operation"),
		Isolated:   f.counter("batch_isolations_total", "Times that a batch was halved because a message spoils it."),
		Locked:     f.counters("lock_conflicts_total", "Statements that were given up, to be tried again, because somebody held a row of theirs.", "operation"),
		Heartbeats: f.counter("heartbeats_total", "Statements sent to extend leases."),
		Extended:   f.counter("leases_extended_total", "Leases extended."),
		Wakeups:    f.counters("wakeups_total", "Times that the fetcher was woken: notification, due or poll.", "cause"),
		Reconnects: f.counters("reconnects_total", "Connections made again after a loss.", "link"),

		OwnBreakerOpen: f.gauge("own_breaker_open", "1 while only this consumer's breaker is open: what the handlers call is unavailable to it, and not to others."),
		BreakerOpen:    f.gauge("breaker_open", "1 while the breaker of the queue is open: what the handlers call is unavailable."),
		Paused:         f.gauge("paused", "1 while an operator has stopped the queue."),
		RateLimit:      f.gauge("rate_limit", "Orders a second that all consumers together may fetch; 0 when there is no limit."),
		Prefetch:       f.gauge("prefetch_limit", "Messages that may wait for a free handler at present."),
		ListenerUp:     f.gauge("listener_up", "1 while notifications are listened for."),
		DatabaseUp:     f.gauge("database_up", "1 while the database answers."),
		SchemaReady:    f.gauge("schema_ready", "1 when the database's schema is at least the one that this consumer was built for."),

		HandlerSeconds: f.histogram("handler_seconds", "Time that a handler took.",
			[]float64{.0001, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}),
		LatencySeconds: f.histogram("order_latency_seconds", "Time from publication to completion, by the database's clock.",
			[]float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800}),
		PickupSeconds: f.histogram("pickup_delay_seconds", "Time from when a message was due to when it was read, by the database's clock.",
			[]float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300}),
		FetchBatch: f.histogram("fetch_batch_size", "Messages per read.", []float64{0, 1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10000}),
		SettleBatch: f.histograms("settle_batch_size", "Messages per statement that ends leases.",
			[]float64{1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10000}, "operation"),
		StatementSeconds: f.histograms("statement_seconds", "Time that a statement took, as seen from here.",
			[]float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 3, 10, 30}, "operation"),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "orderflow_consumer_build_info", Help: "What runs: always 1.",
	}, []string{"version", "queue", "handler"})
	registry.MustRegister(info)
	info.WithLabelValues(version, queue, handler).Set(1)
	m.start()
	return m
}

// Holding is what a consumer has, at one moment.
type Holding struct{ InFlight, Buffered, Held, Stuck int }

// Holding adds the gauges of what the consumer has. now is called whenever somebody asks for one.
func (m *Metrics) Holding(now func() Holding) {
	f := factory{m.Registry}
	f.gaugeOf("messages_in_flight", "Messages that are worked on, by a handler or in the transaction of their ack.", func() int { return now().InFlight })
	f.gaugeOf("messages_buffered", "Messages that wait for a free handler.", func() int { return now().Buffered })
	f.gaugeOf("leases_held", "Leases held: buffered, worked on, or waiting to be written back.", func() int { return now().Held })
	f.gaugeOf("worker_slots_stuck", "Workers whose handler ignores its deadline.", func() int { return now().Stuck })
}

// SigningKeys adds the gauge of the keys that sign deliveries by webhook.
func (m *Metrics) SigningKeys(now func() int) {
	factory{m.Registry}.gaugeOf("webhook_keys", "Keys that sign deliveries: several while one replaces another; 0: deliveries are not signed.", now)
}

// start makes the series exist before their first event, so that a rate over them sees it.
func (m *Metrics) start() {
	for _, kind := range []string{"error", "permanent", "panic", "throttled", "timeout", "unavailable", "write"} {
		m.Failed.WithLabelValues(kind)
	}
	for _, result := range []string{"answered", "failed", "unused"} {
		m.Probes.WithLabelValues(result)
	}
	for _, reason := range []string{"max_attempts", "crashed", "permanent", "not_an_object", "bad_message", "unknown_order", "other_order", "too_large", "unreadable"} {
		m.Dead.WithLabelValues(reason)
	}
	for _, operation := range []string{"ack", "nack", "bury", "release", "heartbeat", "expired"} {
		m.LeaseLost.WithLabelValues(operation)
	}
	for _, operation := range []string{"ack", "nack", "bury", "release"} {
		m.Locked.WithLabelValues(operation)
	}
	for _, link := range []string{"fetch", "settle", "heartbeat", "listen"} {
		m.Reconnects.WithLabelValues(link)
	}
	for _, cause := range []string{"notification", "due", "poll"} {
		m.Wakeups.WithLabelValues(cause)
	}
}

type factory struct{ registry *prometheus.Registry }

const namespace = "orderflow_consumer"

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	f.registry.MustRegister(c)
	return c
}

func (f factory) counters(name, help string, label string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
	f.registry.MustRegister(c)
	return c
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	f.registry.MustRegister(g)
	return g
}

func (f factory) gaugeOf(name, help string, now func() int) {
	opts := prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}
	f.registry.MustRegister(prometheus.NewGaugeFunc(opts, func() float64 { return float64(now()) }))
}

func (f factory) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(ops.Histogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}))
	f.registry.MustRegister(h)
	return h
}

func (f factory) histograms(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(ops.Histogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}), []string{label})
	f.registry.MustRegister(h)
	return h
}
