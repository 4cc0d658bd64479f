package ops_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/kit/ops"
)

// One histogram has classic buckets and native ones, and leads from both to a trace, where the scraper asks for a format that can say so.
func TestHistogramsAreOfBothKindsAndHaveExemplars(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogram(ops.Histogram(prometheus.HistogramOpts{Name: "shop_seconds", Help: "Time.", Buckets: []float64{.1, 1}}))
	registry.MustRegister(h)
	ops.Observe(h, .05, "4bf92f3577b34da6a3ce929d0e0e4736")
	ops.Observe(h, .5, "")
	gathered, err := registry.Gather()
	if err != nil || len(gathered) != 1 {
		t.Fatal(gathered, err)
	}
	native := gathered[0].GetMetric()[0].GetHistogram()
	if native.GetSampleCount() != 2 || len(native.GetPositiveSpan()) == 0 || native.GetSchema() != 3 || len(native.GetBucket()) != 2 {
		t.Errorf("%v", native)
	}
	s, err := ops.Start(t.Context(), ops.Options{Host: "127.0.0.1", Gatherer: registry, Alive: ops.Fine, Ready: ops.Fine}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for accept, exemplar := range map[string]bool{"application/openmetrics-text; version=1.0.0": true, "text/plain": false} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if has := strings.Contains(string(text), `shop_seconds_bucket{le="0.1"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.05`); err != nil || has != exemplar {
			t.Errorf("%s: %v\n%s", accept, err, text)
		}
	}
}
