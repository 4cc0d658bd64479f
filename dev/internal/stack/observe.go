package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Queue is what `GET /queue` of the api says. It is computed at most once a second.
type Queue struct {
	Depth       int64   `json:"depth"`
	Visible     int64   `json:"visible"`
	InFlight    int64   `json:"in_flight"`
	Delayed     int64   `json:"delayed"`
	DeadLetters int64   `json:"dead_letters"`
	OldestAge   float64 `json:"oldest_age_seconds"`
}

// Queue asks the api for the state of the queue.
func (n *Node) Queue(ctx context.Context) (Queue, error) {
	var q Queue
	return q, n.get(ctx, n.URL()+"/queue", n.Token(), func(body io.Reader) error { return json.NewDecoder(body).Decode(&q) })
}

// Metrics reads the node's metrics: each name with the sum over its labels.
func (n *Node) Metrics(ctx context.Context) (map[string]float64, error) {
	sums := map[string]float64{}
	return sums, n.get(ctx, n.MetricsURL()+"/metrics", "", func(body io.Reader) error { return parseMetrics(body, sums) })
}

func (n *Node) get(ctx context.Context, url, token string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return read(io.LimitReader(resp.Body, 4<<20))
}

// parseMetrics reads Prometheus's text format: `name{label="value"} 12.5`.
func parseMetrics(body io.Reader, sums map[string]float64) error {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		var name, rest string
		if open := strings.IndexByte(line, '{'); open >= 0 {
			end := strings.LastIndexByte(line, '}')
			if end < open {
				return fmt.Errorf("a metric without the end of its labels: %q", line)
			}
			name, rest = line[:open], line[end+1:]
		} else {
			name, rest, _ = strings.Cut(line, " ")
		}
		fields := strings.Fields(rest) // the value, and possibly a time
		if len(fields) == 0 {
			return fmt.Errorf("a metric without a value: %q", line)
		}
		value, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return fmt.Errorf("a metric with a wrong value: %q", line)
		}
		sums[name] += value
	}
	return lines.Err()
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
