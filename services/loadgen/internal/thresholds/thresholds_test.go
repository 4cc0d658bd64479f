package thresholds_test

import (
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/thresholds"
)

func TestConditionsAreReadAndCompared(t *testing.T) {
	t.Parallel()
	values := map[string]float64{"post_p99": 0.049, "e2e_p99.9": 1.5, "lost": 0, "error_rate": 0.002, "rate": 999.5, "drain": 3}
	for text, want := range map[string]bool{
		"post_p99<50ms": true, "post_p99<49ms": false, "post_p99<=49ms": true, "e2e_p99.9<1.5s": false, "e2e_p99.9>=1.5s": true, "lost==0": true, "lost!=0": false,
		"error_rate<0.1%": false, "error_rate<0.3%": true, "error_rate<=0.002": true, "rate>999": true, "rate>999.5": false, "drain < 5s": true, "service_p50<1s": false, // no value
	} {
		var l thresholds.List
		if err := l.Decode(text); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		results := l.Evaluate(func(metric string) (float64, bool) { v, ok := values[metric]; return v, ok })
		if len(results) != 1 || results[0].OK != want {
			t.Errorf("%q: %+v", text, results)
		}
	}
}

func TestWrongConditionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"post_p99", "post_p99<", "<5", "post_p99=5ms", "post_p99<50", "p99<50ms", "lost<5%", "lost==zero", "post_p101<1s", "post_p-1<1s", "lost==0,,dead==0",
		"error_rate<NaN", "lost==0;dead==0", "e2e_p99<50ms extra",
	} {
		var l thresholds.List
		if err := l.Decode(text); err == nil {
			t.Errorf("%q was taken as %v", text, l)
		}
	}
}

func TestSeveralConditionsKeepTheirText(t *testing.T) {
	t.Parallel()
	const text = "post_p99<50ms,e2e_p99<1s,lost==0,error_rate<0.1%"
	var l thresholds.List
	if err := l.Decode(text); err != nil || l.String() != text {
		t.Fatalf("%v: %s", err, l)
	}
	if !l.NeedsAudit() {
		t.Fatal("lost and e2e_p99 are the audit's")
	}
	if err := l.Decode("post_p99<50ms,error_rate<1%"); err != nil || l.NeedsAudit() {
		t.Fatalf("%v: needs an audit: %v", err, l.NeedsAudit())
	}
}

func FuzzThresholds(f *testing.F) {
	for _, seed := range []string{"post_p99<50ms,e2e_p99<1s,lost==0,error_rate<0.1%", "", "rate>=1e3", "post_p99.999!=1h2m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l, again thresholds.List
		if l.Decode(text) != nil {
			return
		}
		if err := again.Decode(l.String()); err != nil || again.String() != l.String() {
			t.Fatalf("%q is written as %q: %v", text, l, err)
		}
		for _, r := range l.Evaluate(func(string) (float64, bool) { return 0.5, true }) {
			if r.Condition == "" || r.Actual == "" {
				t.Fatalf("%q: %+v", text, r)
			}
		}
	})
}

func TestDurationsHaveThreeDigits(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0µs", 812 * time.Microsecond: "812µs", 4215 * time.Microsecond: "4.21ms", 42150 * time.Microsecond: "42.1ms", 421 * time.Millisecond: "421ms",
		1304 * time.Millisecond: "1.30s", 13 * time.Second: "13.0s", 125 * time.Second: "2m5s", 999_700 * time.Nanosecond: "1.00ms", -time.Second: "-1.00s",
	} {
		if got := thresholds.Duration(d); got != want {
			t.Errorf("%d ns: %s, not %s", d, got, want)
		}
	}
}
