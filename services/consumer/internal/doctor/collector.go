package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// Collector examines the database when it is scraped, at most once every Every: without a scraper nothing is asked.
type Collector struct {
	link     *pg.Link
	queue    *queue.Queue
	function *effect.Function

	mu   sync.Mutex
	last *Figures
	at   time.Time
}

// Every is how long figures are good for.
const Every = 15 * time.Second

// scrapeLimit is how long a scrape waits for the database.
const scrapeLimit = 1500 * time.Millisecond

// NewCollector returns a collector that examines q, and the function if there is one, through a link of its own, which is closed after each use.
func NewCollector(server *pg.Server, q *queue.Queue, function *effect.Function) *Collector {
	return &Collector{link: server.NewSideLink("doctor", scrapeLimit), queue: q, function: function}
}

var (
	deadRows = prometheus.NewDesc("orderflow_consumer_doctor_dead_rows", "Dead rows of a table.", []string{"table"}, nil)
	liveRows = prometheus.NewDesc("orderflow_consumer_doctor_live_rows", "Live rows of a table, estimated.", []string{"table"}, nil)
	bytes    = prometheus.NewDesc("orderflow_consumer_doctor_table_bytes", "Size of a table.", []string{"table"}, nil)
	vacuumed = prometheus.NewDesc("orderflow_consumer_doctor_vacuumed_seconds", "Time since a table was vacuumed.", []string{"table"}, nil)
	xminAge  = prometheus.NewDesc("orderflow_consumer_doctor_oldest_xmin_transactions",
		"How many transactions back vacuum is held.", []string{"kind"}, nil)
	xminSeconds = prometheus.NewDesc("orderflow_consumer_doctor_oldest_xmin_seconds",
		"For how long vacuum has been held back, where that is known.", []string{"kind"}, nil)
	waiting = prometheus.NewDesc("orderflow_consumer_doctor_oldest_message_seconds",
		"How long the message that is due first has been waiting.", nil, nil)
	stranded = prometheus.NewDesc("orderflow_consumer_doctor_stranded_orders", "Pending orders without a message, as the api's search has found.", nil, nil)
	letters  = prometheus.NewDesc("orderflow_consumer_doctor_dead_letters", "Dead letters, counted up to 100,000.", nil, nil)
	look     = prometheus.NewDesc("orderflow_consumer_doctor_look", "1 when `consumer doctor` has advice about it.", []string{"check"}, nil)
)

// Describe implements prometheus.Collector: no fixed set, since there is nothing to tell while the database is away.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	f := c.figures()
	if f == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, t := range f.Tables {
		gauge(deadRows, float64(t.Dead), t.Name)
		gauge(liveRows, float64(t.Live), t.Name)
		gauge(bytes, float64(t.Bytes), t.Name)
		if t.Vacuumed != nil {
			gauge(vacuumed, *t.Vacuumed, t.Name)
		}
	}
	oldest, longest := map[string]int{}, map[string]float64{}
	for _, kind := range []string{"session", "prepared transaction", "replication slot", "standby"} {
		oldest[kind], longest[kind] = 0, 0
	}
	for _, h := range f.Holders {
		oldest[h.Kind] = max(oldest[h.Kind], h.XminAge)
		if h.Seconds != nil {
			longest[h.Kind] = max(longest[h.Kind], *h.Seconds)
		}
	}
	for kind := range oldest {
		gauge(xminAge, float64(oldest[kind]), kind)
		gauge(xminSeconds, longest[kind], kind)
	}
	if f.Waiting != nil {
		gauge(waiting, f.Waiting.Seconds())
	} else {
		gauge(waiting, 0)
	}
	if f.Stranded != nil {
		gauge(stranded, float64(f.Stranded.Orders))
	}
	gauge(letters, float64(f.Letters))
	for _, finding := range f.Findings() {
		advice := 0.0
		if finding.Advice != "" {
			advice = 1
		}
		gauge(look, advice, finding.Check)
	}
}

func (c *Collector) figures() *Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < Every {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	defer c.link.Close()
	c.last, c.at = nil, time.Now()
	_ = c.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		c.last, err = Examine(ctx, conn, c.queue, c.function)
		return err
	}) // an outage has metrics of its own
	return c.last
}
