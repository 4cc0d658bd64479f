// Package measure counts and times what the load model does: HDR histograms, answers by status, retries, lateness, stalls, and all of
// it over time. It decides nothing and never blocks on anything but its own short lock.
package measure

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest time that a histogram tells apart; what is longer counts as this.
const longest = 24 * time.Hour

// Histogram holds durations from a microsecond on, exact to three digits. Not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram is an empty one.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, longest.Microseconds(), 3)}
}

// Record adds a duration.
func (h *Histogram) Record(d time.Duration) {
	us := min(max(d.Microseconds(), 1), longest.Microseconds())
	_ = h.h.RecordValue(us) // refuses only values out of the range that the line above keeps
}

// Clone is a copy.
func (h *Histogram) Clone() *Histogram { return &Histogram{h: h.h.Clone()} }

// Count is the number of durations.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Percentile is the value that p percent of the durations do not exceed; 0 when it is empty.
func (h *Histogram) Percentile(p float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(p)) * time.Microsecond
}

// Min is the shortest, Max the longest, Mean the average; 0 when it is empty.
func (h *Histogram) Min() time.Duration { return h.micros(float64(h.h.Min())) }

// Max is the longest duration.
func (h *Histogram) Max() time.Duration { return h.micros(float64(h.h.Max())) }

// Mean is the average duration.
func (h *Histogram) Mean() time.Duration { return h.micros(h.h.Mean()) }

func (h *Histogram) micros(us float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(us * float64(time.Microsecond))
}

// Latency is a histogram's summary, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min_ms"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P75   float64 `json:"p75_ms"`
	P90   float64 `json:"p90_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	P9999 float64 `json:"p99_99_ms"`
	Max   float64 `json:"max_ms"`
}

// Summary is the histogram in numbers.
func (h *Histogram) Summary() Latency {
	at := func(p float64) float64 { return ms(h.Percentile(p)) }
	return Latency{
		Count: h.Count(), Min: ms(h.Min()), Mean: ms(h.Mean()), P50: at(50), P75: at(75), P90: at(90), P95: at(95), P99: at(99),
		P999: at(99.9), P9999: at(99.99), Max: ms(h.Max()),
	}
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
