package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// capacityText draws the curve: one line for each rate tried, by rate, with its p99 as a bar.
func (s *Summary) capacityText(w io.Writer) {
	c := s.Capacity
	steps := sortedSteps(c)
	worst := 0.0
	for _, x := range steps {
		worst = max(worst, x.PostP99)
	}
	fmt.Fprintf(w, "%12s %10s %9s %9s %9s %8s %8s\n", "rate", "achieved", "p50", "p99", "e2e p99", "errors", "dropped")
	for _, x := range steps {
		sign := "✓"
		if !x.OK {
			sign = "✗"
		}
		bar := 0
		if worst > 0 {
			bar = int(x.PostP99/worst*24 + 0.5)
		}
		e2e := "–"
		if x.E2EP99 > 0 {
			e2e = millis(x.E2EP99)
		}
		fmt.Fprintf(w, "%s %8s/s %8s/s %9s %9s %9s %8s %8s %s\n", sign, rate(x.Rate), rate(x.Achieved), millis(x.PostP50), millis(x.PostP99), e2e,
			thresholds.Format(x.ErrorRate, thresholds.Ratio), grouped(x.Dropped), strings.Repeat("█", max(1, bar)))
		for _, failed := range x.Failed() {
			fmt.Fprintf(w, "%13s failed: %s\n", "", failed)
		}
	}
	switch {
	case s.Interrupted && c.Best == 0:
		row(w, "capacity", "unknown: the search was ended before a rate held")
	case s.Interrupted:
		row(w, "capacity", fmt.Sprintf("at least %s/s: that held before the search was ended", rate(c.Best)))
	case c.Best == 0:
		row(w, "capacity", "not even the lowest rate kept "+c.Conditions)
	case c.Ceiling:
		row(w, "capacity", fmt.Sprintf("at least %s/s: the highest rate tried kept %s", rate(c.Best), c.Conditions))
	default:
		row(w, "capacity", fmt.Sprintf("%s/s with %s", rate(c.Best), c.Conditions))
	}
}

// Failed is why the rate does not hold: each condition that it did not keep with what there was instead, and every other fault.
func (s *Step) Failed() []string {
	var failed []string
	for _, t := range s.Thresholds {
		if !t.OK {
			failed = append(failed, fmt.Sprintf("%s (%s)", t.Condition, t.Actual))
		}
	}
	for _, f := range s.Faults {
		if !strings.HasPrefix(f, "threshold ") {
			failed = append(failed, f)
		}
	}
	return failed
}

func sortedSteps(c *Capacity) []Step {
	if c == nil {
		return nil
	}
	steps := slices.Clone(c.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.Rate, b.Rate) })
	return steps
}
