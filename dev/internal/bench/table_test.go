package bench

import (
	"strings"
	"testing"
	"time"

	"orderflow.example/dev/internal/stack"
)

func TestRatiosAreThoseOfTheSameRound(t *testing.T) {
	t.Parallel()
	result := Result{Title: "Title", Rows: []Row{
		{What: "direct", rounds: []figures{{rate: 100}, {rate: 1000}, {rate: 200}}},
		{What: "ours", rounds: []figures{{rate: 300, p50: time.Millisecond, p99: 20 * time.Millisecond}, {rate: 2000}, {rate: 800}}},
	}}
	if got, want := result.Rows[1].against(result.Rows[0]), (spread{2, 3, 4}); got != want {
		t.Errorf("the ratios are %v, want %v", got, want)
	}
	var text strings.Builder
	Write(&text, []Result{result})
	for _, want := range []string{"### Title", "| 800 ", "| 300 to 2,000 ", "| 3.00 ", "| 2.00 to 4.00 "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("without %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "WAL") {
		t.Errorf("costs, though none were metered:\n%s", text.String())
	}
}

func TestCostsAreShownWhereTheyWereMetered(t *testing.T) {
	t.Parallel()
	paid := cost{wal: 1843.2, transactions: 0.25, cpu: map[stack.Service]float64{stack.API: 0.0421}, memory: map[stack.Service]float64{stack.Consumer: 31.4}}
	var text strings.Builder
	Write(&text, []Result{{Title: "Title", Rows: []Row{{What: "ours", rounds: []figures{{rate: 1_234_567, cost: paid}}}}}})
	for _, want := range []string{"| 1,234,567 ", "| 1,843 ", "| 0.25 ", "| 0.042 ", "| 31 ", "| – "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("without %q:\n%s", want, text.String())
		}
	}
}

func TestThe99thOfAHundredIsNotTheLongest(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i)*time.Millisecond)
	}
	if c := callOf("GET /", took); c.P50 != 50*time.Millisecond || c.P99 != 99*time.Millisecond || c.Max != 100*time.Millisecond {
		t.Errorf("%+v", c)
	}
}
