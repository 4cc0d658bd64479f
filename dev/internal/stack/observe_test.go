package stack

import (
	"maps"
	"strings"
	"testing"
)

func TestMetricsAreSummedOverTheirLabels(t *testing.T) {
	t.Parallel()
	text := "# HELP a_total Help.\n# TYPE a_total counter\na_total{k=\"x } y\"} 2\na_total{k=\"z\"} 3 1700000000\nb 1.5e+02\n"
	sums := map[string]float64{}
	if err := sumMetrics(strings.NewReader(text), sums); err != nil {
		t.Fatal(err)
	}
	if sums["a_total"] != 5 || sums["b"] != 150 || len(sums) != 2 {
		t.Errorf("got %v", sums)
	}
	for _, bad := range []string{"a{b 1", "a", "a x"} {
		if err := sumMetrics(strings.NewReader(bad), sums); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestCountsKeepTheirLabels(t *testing.T) {
	t.Parallel()
	text := "# TYPE a_total counter\na_total{k=\"x } y\",b=\"1\"} 2\na_total{b=\"1\",k=\"z\"} 3\n# TYPE g gauge\ng 7\n" +
		"# TYPE h histogram\nh_bucket{op=\"ack\",le=\"1\"} 2\nh_bucket{op=\"ack\",le=\"+Inf\"} 4\nh_sum{op=\"ack\"} 6.5\nh_count{op=\"ack\"} 4\n"
	counts := map[string]float64{}
	if err := readCounts(strings.NewReader(text), counts); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{`a_total{b="1",k="x } y"}`: 2, `a_total{b="1",k="z"}`: 3, `h_count{op="ack"}`: 4, `h_sum{op="ack"}`: 6.5}
	if !maps.Equal(counts, want) {
		t.Errorf("got %v", counts)
	}
}
