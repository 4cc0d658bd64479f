package stack

import (
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
