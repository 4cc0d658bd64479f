package arrivals

import (
	"math"
	"time"
)

// Profile is a rate over time. It says when the n-th arrival is due.
type Profile struct {
	segments []segment
	total    float64 // arrivals in all; +Inf when the rate goes on for ever
}

type segment struct {
	start, length float64 // seconds; length +Inf = for ever
	from, to      float64 // arrivals a second at its beginning and end
	before        float64 // arrivals due before it begins
}

// Constant is a rate that holds for a duration, or for ever when the duration is 0.
func Constant(rate float64, d time.Duration) Profile {
	length := d.Seconds()
	if d == 0 {
		length = math.Inf(1)
	}
	return Profile{segments: []segment{{length: length, from: rate, to: rate}}, total: rate * length}
}

// NewProfile is the rate that begins at start and follows the stages.
func NewProfile(start float64, stages Stages) Profile {
	var p Profile
	at, rate := 0.0, start
	for _, s := range stages {
		g := segment{start: at, length: s.Duration.Seconds(), from: rate, to: s.Rate, before: p.total}
		p.segments = append(p.segments, g)
		p.total += g.length * (g.from + g.to) / 2
		at, rate = at+g.length, s.Rate
	}
	return p
}

// Total is the number of arrivals in all; +Inf for a rate that goes on for ever.
func (p Profile) Total() float64 { return p.total }

// Length is how long the profile lasts; 0 for one that goes on for ever.
func (p Profile) Length() time.Duration {
	if len(p.segments) == 0 {
		return 0
	}
	last := p.segments[len(p.segments)-1]
	if math.IsInf(last.length, 1) {
		return 0
	}
	return seconds(last.start + last.length)
}

// Peak is the highest rate that the profile reaches.
func (p Profile) Peak() float64 {
	peak := 0.0
	for _, g := range p.segments {
		peak = max(peak, g.from, g.to)
	}
	return peak
}

// At is the offset at which the area under the rate, which is the number of arrivals due, reaches n. The second value is false when it never does.
func (p Profile) At(n float64) (time.Duration, bool) {
	if n >= p.total {
		return 0, false
	}
	for _, g := range p.segments {
		area := g.length * (g.from + g.to) / 2
		if n >= g.before+area {
			continue
		}
		rest := n - g.before
		slope := 0.0
		if !math.IsInf(g.length, 1) {
			slope = (g.to - g.from) / g.length
		}
		// The root of slope/2·x² + from·x = rest, in the form that stays exact when slope or from is 0.
		root := math.Sqrt(max(0, g.from*g.from+2*slope*rest))
		x := 0.0
		if g.from+root > 0 {
			x = 2 * rest / (g.from + root)
		}
		return seconds(g.start + min(x, g.length)), true
	}
	return 0, false
}

func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(s * 1e9))
}
