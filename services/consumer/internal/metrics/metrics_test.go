package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"orderflow.example/services/consumer/internal/metrics"
)

// Dashboards and alerts rely on these: also those of which nothing has been counted yet are there from the start.
func TestMetricsAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	answer := httptest.NewRecorder()
	m := metrics.New("v1", "q", "simulate")
	m.Holding(func() metrics.Holding { return metrics.Holding{InFlight: 1, Buffered: 2, Held: 3, Stuck: 4} })
	promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, name := range []string{
		`orderflow_consumer_build_info{handler="simulate",queue="q",version="v1"} 1`,
		`orderflow_consumer_messages_processed_total 0`,
		`orderflow_consumer_lease_lost_total{operation="ack"} 0`,
		`orderflow_consumer_listener_up 0`,
		`orderflow_consumer_messages_dead_total{reason="unknown_order"} 0`,
		"orderflow_consumer_messages_in_flight 1\n", "orderflow_consumer_messages_buffered 2\n", "orderflow_consumer_leases_held 3\n",
		"orderflow_consumer_worker_slots_stuck 4\n", "process_cpu_seconds_total",
	} {
		if text := answer.Body.String(); answer.Code != http.StatusOK || !strings.Contains(text, name) {
			t.Errorf("/metrics (%d) has no %s", answer.Code, name)
		}
	}
	problems, err := promlint.New(answer.Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("Prometheus' linter: %v %v", problems, err)
	}
}
