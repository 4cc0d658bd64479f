package ops

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Histogram makes of a histogram with classic buckets one that is a native one as well: whoever scrapes takes what it knows. Its
// buckets are 10 % wide at most, and there are no more than 160 of them: 4 KiB for each series.
func Histogram(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 160
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}

// Observe observes a value, with the trace that it was seen in as an exemplar; an empty id is none.
func Observe(o prometheus.Observer, value float64, traceID string) {
	if traceID != "" {
		if e, ok := o.(prometheus.ExemplarObserver); ok {
			e.ObserveWithExemplar(value, prometheus.Labels{"trace_id": traceID})
			return
		}
	}
	o.Observe(value)
}
