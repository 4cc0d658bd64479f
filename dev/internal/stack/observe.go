package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Queue is what `GET /queue` of the api says. It is computed at most once a second.
type Queue struct {
	AsOf        time.Time `json:"as_of"` // the moment it was looked up, by the database's clock
	Depth       int64     `json:"depth"`
	Visible     int64     `json:"visible"`
	InFlight    int64     `json:"in_flight"`
	Delayed     int64     `json:"delayed"`
	DeadLetters int64     `json:"dead_letters"`
	OldestAge   float64   `json:"oldest_age_seconds"`
}

// Queue asks the api for the state of the queue.
func (n *Node) Queue(ctx context.Context) (Queue, error) {
	var q Queue
	return q, n.get(ctx, n.URL()+"/queue", n.Token(), func(body io.Reader) error { return json.NewDecoder(body).Decode(&q) })
}

// Metrics reads the node's counters and gauges: each name with the sum over its labels.
func (n *Node) Metrics(ctx context.Context) (map[string]float64, error) {
	sums := map[string]float64{}
	return sums, n.get(ctx, n.MetricsURL()+"/metrics", "", func(body io.Reader) error { return sumMetrics(body, sums) })
}

// Counts reads what the node counts: each counter with its labels, as in orders_total{kind="a"}, and of each histogram how many values it
// has seen and their sum, by the names with _count and _sum.
func (n *Node) Counts(ctx context.Context) (map[string]float64, error) {
	counts := map[string]float64{}
	return counts, n.get(ctx, n.MetricsURL()+"/metrics", "", func(body io.Reader) error { return readCounts(body, counts) })
}

func (n *Node) get(ctx context.Context, url, token string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := scraper.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return read(io.LimitReader(resp.Body, 4<<20))
}

// sumMetrics reads counters and gauges in Prometheus' text format.
func sumMetrics(body io.Reader, sums map[string]float64) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			// A metric has one of them; the others are 0.
			sums[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return nil
}

// readCounts reads counters and histograms in Prometheus' text format.
func readCounts(body io.Reader, counts map[string]float64) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			of := ""
			if len(labels) > 0 {
				of = "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				counts[name+of] = m.GetCounter().GetValue()
			case m.Histogram != nil:
				counts[name+"_count"+of] = float64(m.GetHistogram().GetSampleCount())
				counts[name+"_sum"+of] = m.GetHistogram().GetSampleSum()
			}
		}
	}
	return nil
}

// Progress is what the consumers have done since they were started.
type Progress struct{ Processed, Retried, Dead int64 }

// Progress sums over the consumers that answer.
func (s *Stack) Progress(ctx context.Context) Progress {
	var p Progress
	for _, n := range s.Nodes(Consumer) {
		m, err := n.Metrics(ctx)
		if err != nil {
			continue // it is starting or stopping
		}
		p.Processed += int64(m["orderflow_consumer_messages_processed_total"])
		p.Retried += int64(m["orderflow_consumer_messages_retried_total"])
		p.Dead += int64(m["orderflow_consumer_messages_dead_total"])
	}
	return p
}
