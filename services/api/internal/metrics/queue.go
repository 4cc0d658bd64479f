package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/services/api/internal/queue"
)

// scrapeLimit is how long a scrape waits for the database.
const scrapeLimit = 1500 * time.Millisecond

var (
	messagesDesc = prometheus.NewDesc("orderflow_api_queue_messages",
		"Messages in the queue: visible (waiting for a consumer), in_flight (with one) or delayed (waiting for a retry).", []string{"state"}, nil)
	dueDesc     = prometheus.NewDesc("orderflow_api_queue_oldest_due_seconds", "How long the message that is due first has been waiting; 0 when none is.", nil, nil)
	lettersDesc = prometheus.NewDesc("orderflow_api_queue_dead_letters", "Dead letters.", nil, nil)
)

// queueCollector shows the queue as GET /queue does, from the same shared snapshot. Without a scraper nothing is asked.
type queueCollector struct {
	up   func() bool
	look func(context.Context) (queue.Snapshot, error)
}

// Describe implements prometheus.Collector: no fixed set, since there is nothing to tell while the database is away.
func (queueCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. What cannot be looked up is left out: an outage has metrics of its own.
func (c queueCollector) Collect(out chan<- prometheus.Metric) {
	if !c.up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	s, err := c.look(ctx)
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(messagesDesc, float64(s.Visible), "visible")
	gauge(messagesDesc, float64(s.InFlight), "in_flight")
	gauge(messagesDesc, float64(s.Delayed), "delayed")
	gauge(dueDesc, s.OldestDueSeconds)
	gauge(lettersDesc, float64(s.DeadLetters))
}
