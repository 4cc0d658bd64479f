package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// Capacity is the outcome of a capacity search.
type Capacity struct {
	Best       float64 `json:"best_rate"`  // the highest rate that kept the thresholds; 0 when none did
	Ceiling    bool    `json:"at_ceiling"` // CAPACITY_MAX was kept: there may be more
	Conditions string  `json:"conditions"`
	Steps      []Step  `json:"steps"`
}

// Step is one rate that was tried.
type Step struct {
	Rate       float64             `json:"rate"`
	Achieved   float64             `json:"achieved_rate"`
	PostP50    float64             `json:"post_p50_ms"`
	PostP99    float64             `json:"post_p99_ms"`
	E2EP99     float64             `json:"e2e_p99_ms"`
	ErrorRate  float64             `json:"error_rate"`
	Dropped    int64               `json:"dropped"`
	Drain      float64             `json:"drain_s"`
	Audit      string              `json:"audit"`
	OK         bool                `json:"ok"`
	Thresholds []thresholds.Result `json:"thresholds"`
	Faults     []string            `json:"faults,omitempty"` // the conditions that were not kept among them
	Broken     []string            `json:"-"`                // those that no load excuses
}

// text draws the curve: one line for each rate tried, by rate, with its p99 as a bar.
func (c *Capacity) text(w io.Writer, interrupted bool) {
	steps, worst := c.sorted(), 0.0
	for _, x := range steps {
		worst = max(worst, x.PostP99)
	}
	fmt.Fprintf(w, "%12s %10s %9s %9s %9s %8s %8s\n", "rate", "achieved", "p50", "p99", "e2e p99", "errors", "dropped")
	for _, x := range steps {
		e2e := "–"
		if x.E2EP99 > 0 {
			e2e = millis(x.E2EP99)
		}
		fmt.Fprintf(w, "%s %8s/s %8s/s %9s %9s %9s %8s %8s %s\n", sign(x.OK), rate(x.Rate), rate(x.Achieved), millis(x.PostP50), millis(x.PostP99), e2e,
			thresholds.Format(x.ErrorRate, thresholds.Ratio), grouped(x.Dropped), strings.Repeat("█", max(1, int(x.PostP99/max(worst, 0.001)*24+0.5))))
		for _, failed := range x.failed() {
			fmt.Fprintf(w, "%13s failed: %s\n", "", failed)
		}
	}
	switch {
	case interrupted && c.Best == 0:
		row(w, "capacity", "unknown: the search was ended before a rate held")
	case interrupted:
		row(w, "capacity", fmt.Sprintf("at least %s/s: that held before the search was ended", rate(c.Best)))
	case c.Best == 0:
		row(w, "capacity", "not even the lowest rate kept "+c.Conditions)
	case c.Ceiling:
		row(w, "capacity", fmt.Sprintf("at least %s/s: the highest rate tried kept %s", rate(c.Best), c.Conditions))
	default:
		row(w, "capacity", fmt.Sprintf("%s/s with %s", rate(c.Best), c.Conditions))
	}
}

// failed is why the rate does not hold: each condition that it did not keep with what there was instead, and every other fault.
func (s *Step) failed() []string {
	var failed []string
	for _, t := range s.Thresholds {
		if !t.OK {
			failed = append(failed, fmt.Sprintf("%s (%s)", t.Condition, t.Actual))
		}
	}
	return append(failed, slices.DeleteFunc(slices.Clone(s.Faults), func(f string) bool { return strings.HasPrefix(f, "threshold ") })...)
}

// sorted are the steps by rate.
func (c *Capacity) sorted() []Step {
	steps := slices.Clone(c.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.Rate, b.Rate) })
	return steps
}
