// Package arrivals decides when orders are due: the rate over time (constant or in stages), the arrivals that follow from it (evenly
// spaced or Poisson), and the pacer that waits for each. It must never look at how the server answers: an arrival rate that
// waits for answers would hide the very stalls it is there to show (coordinated omission).
package arrivals

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Stage is a straight line from the rate before it to Rate, over Duration.
type Stage struct {
	Duration time.Duration
	Rate     float64 // orders a second at its end
}

// Stages is a list of them, written 30s:100,2m:1000,30s:0.
type Stages []Stage

const (
	maxStages = 1000
	maxRate   = 1_000_000
	maxLength = 30 * 24 * time.Hour
)

// Decode reads a list of stages; envconfig calls it. An empty text is no stages.
func (s *Stages) Decode(text string) error {
	*s = nil
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > maxStages {
		return fmt.Errorf("more than %d stages", maxStages)
	}
	var list Stages
	var length time.Duration
	for i, part := range parts {
		d, r, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			return fmt.Errorf("stage %d, %q: not duration:rate", i+1, part)
		}
		duration, err := time.ParseDuration(strings.TrimSpace(d))
		if err != nil || duration <= 0 || duration > maxLength {
			return fmt.Errorf("stage %d: %q is not a duration above 0", i+1, d)
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(r), 64)
		if err != nil || math.IsNaN(rate) || rate < 0 || rate > maxRate {
			return fmt.Errorf("stage %d: %q is not a rate from 0 to %d", i+1, r, maxRate)
		}
		if length += duration; length > maxLength {
			return fmt.Errorf("the stages last longer than %s", maxLength)
		}
		list = append(list, Stage{Duration: duration, Rate: rate})
	}
	*s = list
	return nil
}

func (s Stages) String() string {
	parts := make([]string, len(s))
	for i, stage := range s {
		parts[i] = stage.Duration.String() + ":" + strconv.FormatFloat(stage.Rate, 'f', -1, 64)
	}
	return strings.Join(parts, ",")
}
