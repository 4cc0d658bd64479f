package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// chart is one picture: curves over a common x axis.
type chart struct {
	Title, Note    string
	Lines          []line
	xs             []float64
	logX, logY     bool
	xLabel, yLabel func(float64) string
	shaded         [][2]float64 // stretches of the x axis
}

// line is one of its curves; NaN is a gap.
type line struct {
	Name, Class string // the class is its colour, by the style sheet
	ys          []float64
	filled      bool
}

// The picture's size, and where in it the plot is; labels stand around it.
const (
	width, height            = 560, 240
	left, right, top, bottom = 58, width - 14, 8, height - 24
)

// axis is a scale from one value to another.
type axis struct {
	low, high float64
	log       bool
}

// at is where a value stands, from 0 to 1.
func (a axis) at(v float64) float64 {
	if a.log {
		return math.Log(max(v, a.low)/a.low) / math.Log(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// ticks are the values to be labelled: four steps, or the powers of ten, and what is between them when those are few.
func (a axis) ticks() []float64 {
	var ticks []float64
	if !a.log {
		for i := range 5 {
			ticks = append(ticks, a.low+float64(i)*(a.high-a.low)/4)
		}
		return ticks
	}
	steps := []float64{1}
	if a.high/a.low < 500 {
		steps = []float64{1, 2, 5}
	}
	for decade := math.Floor(math.Log10(a.low)); decade <= math.Log10(a.high); decade++ {
		for _, step := range steps {
			if v := math.Pow(10, decade) * step; v >= a.low*0.999 && v <= a.high*1.001 {
				ticks = append(ticks, v)
			}
		}
	}
	return ticks
}

// yAxis reaches over all values, to a round number.
func (c *chart) yAxis() axis {
	low, high := math.Inf(1), 0.0
	for _, l := range c.Lines {
		for _, y := range l.ys {
			if y > 0 {
				low, high = min(low, y), max(high, y)
			}
		}
	}
	if c.logY {
		return axis{math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Floor(math.Log10(high))+1), true}
	}
	unit := math.Pow(10, math.Floor(math.Log10(high)))
	for _, round := range []float64{1, 2, 4, 8, 10} {
		if high <= round*unit {
			return axis{0, round * unit, false}
		}
	}
	return axis{0, 10 * unit, false}
}

// drawable drops the curves without a value, and says whether any is left.
func (c *chart) drawable() bool {
	c.Lines = slices.DeleteFunc(c.Lines, func(l line) bool { return !slices.ContainsFunc(l.ys, func(y float64) bool { return y > 0 }) })
	return len(c.Lines) > 0 && len(c.xs) > 1
}

// SVG is the picture.
func (c *chart) SVG() template.HTML {
	xs, ys := axis{c.xs[0], c.xs[len(c.xs)-1], c.logX}, c.yAxis()
	x := func(v float64) float64 { return left + xs.at(v)*(right-left) }
	y := func(v float64) float64 { return bottom - ys.at(v)*(bottom-top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img">`, width, height)
	for _, s := range c.shaded {
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d"/>`, x(s[0]), top, max(2, x(s[1])-x(s[0])), bottom-top)
	}
	for _, v := range ys.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, y(v), right, left-6, y(v)+4, c.yLabel(v))
	}
	for _, v := range xs.ticks() {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(v), height-6, c.xLabel(v))
	}
	for _, l := range c.Lines {
		path, from := "", 0
		for i, v := range l.ys {
			if math.IsNaN(v) {
				from = i + 1
				continue
			}
			move := "L"
			if i == from {
				move = "M"
			}
			path += fmt.Sprintf("%s%.1f %.1f", move, x(c.xs[i]), y(v))
		}
		if l.filled {
			fmt.Fprintf(&b, `<path class="%s area" d="%sV%dH%.1fZ"/>`, l.Class, path, bottom, x(c.xs[0]))
		}
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, l.Class, path)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers, and labels made of numbers
}

func clock(s float64) string {
	if s < 120 {
		return strconv.FormatFloat(math.Round(s*10)/10, 'f', -1, 64) + " s"
	}
	return (time.Duration(s) * time.Second).String()
}

func count(v float64) string {
	if v >= 10_000 {
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// axisMillis writes milliseconds without needless digits: 1 ms, 200 µs, 10 s.
func axisMillis(v float64) string {
	switch {
	case v < 0.9995:
		return strconv.FormatFloat(v*1000, 'g', 3, 64) + " µs"
	case v < 999.5:
		return strconv.FormatFloat(v, 'g', 3, 64) + " ms"
	}
	return thresholds.Duration(time.Duration(v * float64(time.Millisecond)))
}
