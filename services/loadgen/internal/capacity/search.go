// Package capacity searches for the highest rate that a system stands. It decides which rate to try next, and nothing else: what a try
// is and whether it held is the caller's.
package capacity

import (
	"math"
)

// Search is a search between two rates.
type Search struct {
	Min, Max  float64
	Precision float64 // the bracket's width, as a share of its lower end, at which it is narrow enough
	Tries     int     // how often a rate must fail before it counts as failed: one hiccup is not a limit
}

// Result is what a search found.
type Result struct {
	Best    float64 // the highest rate that held; 0 when none did
	Ceiling bool    // Max held
}

// Run tries rates, at first Min and then twice as much each time until one fails, then between the last that held and the first that
// failed. try says whether a rate held; when it returns an error the search ends with what it has.
func (s Search) Run(try func(rate float64) (held bool, err error)) (Result, error) {
	attempt := func(rate float64) (bool, error) {
		for range max(1, s.Tries) {
			if held, err := try(rate); held || err != nil {
				return held, err
			}
		}
		return false, nil
	}
	var low, high float64
	for rate := s.Min; ; rate = min(rate*2, s.Max) {
		held, err := attempt(rate)
		if err != nil {
			return Result{Best: low}, err
		}
		if !held {
			high = rate
			break
		}
		low = rate
		if rate >= s.Max {
			return Result{Best: low, Ceiling: true}, nil
		}
	}
	if low == 0 {
		return Result{}, nil
	}
	for high/low > 1+s.Precision {
		// The geometric middle: rates differ by ratios.
		middle := significant(math.Sqrt(low * high))
		if middle <= low || middle >= high {
			break
		}
		held, err := attempt(middle)
		if err != nil {
			return Result{Best: low}, err
		}
		if held {
			low = middle
		} else {
			high = middle
		}
	}
	return Result{Best: low}, nil
}

// significant rounds to three digits: nobody needs 1,183.2159 orders a second.
func significant(f float64) float64 {
	if f <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(f))-2)
	return math.Round(f/unit) * unit
}
