package metrics_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/metrics"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", url, resp.StatusCode, err, body)
	}
	return string(body)
}

func TestMetricsFollowTheRun(t *testing.T) {
	t.Parallel()
	s, err := metrics.Start(t.Context(), "127.0.0.1", 0, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + s.Address()
	if text := get(t, c, url+"/metrics"); strings.Contains(text, "orderflow_loadgen_") || !strings.Contains(text, "go_goroutines") {
		t.Fatalf("before a run: %s", text)
	}
	now := time.Now()
	r := measure.NewRecorder(now)
	s.Watch(r)
	s.Audit(audit.Progress{Accepted: 5, Completed: 4})
	r.Begin(orders.Valid, 1, now, now)
	r.Try(measure.Try{Kind: orders.Valid, Begun: now, Ended: now.Add(20 * time.Millisecond), Waiting: now}, &client.Answer{Status: 201})
	r.End(1, now, now.Add(20*time.Millisecond), measure.Accepted, false, "")
	r.Begin(orders.Valid, 1, now, now)
	r.Try(measure.Try{Kind: orders.Valid, Begun: now, Ended: now, Waiting: now, Failed: true}, &client.Answer{Failure: client.Reset})
	r.Queue(client.Queue{Depth: 17})
	text := get(t, c, url+"/metrics")
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("Prometheus' linter: %v %v", problems, err)
	}
	for _, want := range []string{
		`orderflow_loadgen_orders_total{outcome="accepted"} 1`, `orderflow_loadgen_orders_total{outcome="sent"} 2`, `orderflow_loadgen_tries_total{answer="201"} 1`,
		`orderflow_loadgen_tries_total{answer="reset"} 1`, `orderflow_loadgen_in_flight 1`, `orderflow_loadgen_queue_depth 17`, `orderflow_loadgen_post_seconds{quantile="0.99"} 0.02`, `orderflow_loadgen_post_seconds_count 1`,
		`orderflow_loadgen_audit_orders{state="completed"} 4`, `orderflow_loadgen_failed_tries_total 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if text := get(t, c, url+"/readyz"); !strings.Contains(text, `"auditing":true`) {
		t.Errorf("readyz: %s", text)
	}
	get(t, c, url+"/livez")
}
