package alerts

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Faults are far beyond their thresholds, and a healthy run is far below them. So each threshold that the chart comes with is looked at from
// both sides: what is a little below it raises nothing, what is a little above it raises the alert. These series are made up.
func TestThresholdsAreWhereTheyAreMeantToBe(t *testing.T) {
	t.Parallel()
	chart, err := Render(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if chart.Interval != 15*time.Second {
		t.Fatalf("scrapes are %s apart", chart.Interval)
	}
	for alert, of := range map[string]struct{ series, below, above string }{
		// a minute
		"OrderflowOrdersWait": {"orderflow_api_queue_oldest_due_seconds %s\n", "55", "65"},
		// one in a hundred requests, the probes' not among them; of what a client has done wrong any number
		"OrderflowApiRefuses": {`orderflow_api_requests_total{method="POST",route="/orders",status="503"} %s` + "\n" +
			`orderflow_api_requests_total{method="POST",route="/orders",status="422"} @10000` + "\n" +
			`orderflow_api_requests_total{method="GET",route="/readyz",status="503"} @1000000` + "\n", "@90", "@110"},
		// half of all attempts; those that asked for patience, or are given up at once, do not count
		"OrderflowAttemptsFail": {`orderflow_consumer_messages_failed_total{kind="error"} %s` + "\n" +
			`orderflow_consumer_messages_failed_total{kind="throttled"} @10000` + "\n" +
			`orderflow_consumer_messages_failed_total{kind="permanent"} @10000` + "\n" +
			"orderflow_consumer_messages_processed_total @100\n", "@95", "@105"},
		// one in ten seconds, of all consumers together
		"OrderflowLeasesLost": {`orderflow_consumer_lease_lost_total{operation="ack"} %s` + "\n" +
			`orderflow_consumer_lease_lost_total{operation="heartbeat"} @1` + "\n", "@0", "@1"},
		// ten minutes
		"OrderflowVacuumHeldBack": {`orderflow_consumer_doctor_oldest_xmin_seconds{kind="session"} %s` + "\n", "590", "610"},
		// a quarter of an hour
		"OrderflowBalanceUnknown": {"orderflow_api_stranded_search_age_seconds %s\n", "890", "910"},
		// all of them
		"OrderflowConnectionsShort": {"orderflow_api_connections_limit 1000\norderflow_api_connections %s\n", "999", "1000"},
		// one
		"OrderflowOrdersStranded":     {"orderflow_api_stranded_orders %s\n", "0", "1"},
		"OrderflowHandlersStuck":      {"orderflow_consumer_worker_slots_stuck %s\n", "0", "1"},
		"OrderflowConsumerFailsAlone": {"orderflow_consumer_own_breaker_open %s\n", "0", "1"},
		"OrderflowPaused":             {"orderflow_consumer_paused %s\n", "0", "1"},
		"OrderflowBreakerOpen":        {"orderflow_consumer_breaker_open %s\n", "0", "1"},
	} {
		for value, want := range map[string][]string{of.below: {}, of.above: {alert}} {
			t.Run(fmt.Sprintf("%s %s", alert, value), func(t *testing.T) {
				t.Parallel()
				p, err := New(t.Context(), t.TempDir(), chart)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Close() })
				pods := told(t, fmt.Sprintf(of.series, value), "api", "consumer")
				var firing []string
				for range 140 { // more than half an hour, after which the slowest fires
					if firing, err = p.Scrape(t.Context(), Target{pods["api"], chart.API}, Target{pods["consumer"], chart.Consumer + "1"}); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(firing, want) {
					t.Errorf("%v fire, want %v", firing, want)
				}
			})
		}
	}
}

// told serves series as pods would tell them, each service its own, beside those that say that all is well. @n is a counter that grows by n
// from scrape to scrape.
func told(t *testing.T, series string, services ...string) map[string]string {
	t.Helper()
	urls := map[string]string{}
	for _, service := range services {
		var scrapes atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n := scrapes.Add(1)
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			for line := range strings.Lines("orderflow_api_info 1\norderflow_api_database_up 1\norderflow_consumer_database_up 1\n" + series) {
				if !strings.HasPrefix(line, "orderflow_"+service+"_") {
					continue
				}
				name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
				var step int64
				if _, err := fmt.Sscanf(value, "@%d", &step); err == nil {
					value = fmt.Sprint(n * step)
				}
				fmt.Fprintln(w, name, value)
			}
		}))
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
		urls[service] = server.URL
	}
	return urls
}
