package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// chart is one picture: lines, areas or bars over a common x axis. The plot is an SVG that stretches with the page; its labels are text
// beside it, so that they stay legible at any width.
type chart struct {
	Title  string
	Note   string
	Log    bool // of the y axis
	Bars   bool // x values are the bars' edges, one more than there are values
	xs     []float64
	lines  []line
	bands  [][2]float64 // shaded stretches of the x axis
	shade  string       // their class: bad or ok
	xLabel func(float64) string
	yLabel func(float64) string
	logX   bool
}

// line is one of its curves; NaN is a gap.
type line struct {
	Name  string
	Class string // colour and form, by the style sheet
	ys    []float64
	area  bool
}

// The plot's own coordinates.
const (
	plotWidth  = 1000.0
	plotHeight = 260.0
)

// tickMark is a label of an axis, at a percentage of its length.
type tickMark struct {
	At    float64
	Label string
}

// drawn is what the template needs of a chart.
type drawn struct {
	Title, Note string
	Bars        bool
	Width       float64
	Height      float64
	Legend      []line
	XTicks      []tickMark
	YTicks      []tickMark
	Bands       []band
	Shade       string
	Paths       []path
	Data        string // for the crosshair, as JSON
}

type band struct{ X, Width float64 }

type path struct {
	Class string
	D     string
}

func (c *chart) empty() bool {
	for _, l := range c.lines {
		for _, y := range l.ys {
			if !math.IsNaN(y) && y != 0 {
				return false
			}
		}
	}
	return true
}

func (c *chart) draw() drawn {
	// A curve without a single point has no place in the legend.
	c.lines = slices.DeleteFunc(c.lines, func(l line) bool {
		return !slices.ContainsFunc(l.ys, func(y float64) bool { return !math.IsNaN(y) })
	})
	x, xTicks := c.xScale()
	y, yTicks := c.yScale()
	d := drawn{Title: c.Title, Note: c.Note, Bars: c.Bars, Width: plotWidth, Height: plotHeight, Legend: c.lines, XTicks: xTicks, YTicks: yTicks, Shade: c.shade}
	for _, b := range c.bands {
		d.Bands = append(d.Bands, band{X: round(x(b[0])), Width: round(max(2, x(b[1])-x(b[0])))})
	}
	for _, l := range c.lines {
		switch {
		case c.Bars:
			d.Paths = append(d.Paths, path{Class: l.Class + " area", D: c.barPath(l, x, y)})
		case l.area:
			d.Paths = append(d.Paths, path{Class: l.Class + " area", D: c.linePath(l, x, y, true)})
			fallthrough
		default:
			d.Paths = append(d.Paths, path{Class: l.Class, D: c.linePath(l, x, y, false)})
		}
	}
	d.Data = c.data(x)
	return d
}

// linePath goes through the values and breaks at gaps; a value that stands alone is drawn as a short dash.
func (c *chart) linePath(l line, x, y func(float64) float64, closed bool) string {
	var b strings.Builder
	for i := 0; i < len(l.ys); {
		if math.IsNaN(l.ys[i]) {
			i++
			continue
		}
		from := i
		for ; i < len(l.ys) && !math.IsNaN(l.ys[i]); i++ {
			op := "L"
			if i == from {
				op = "M"
			}
			fmt.Fprintf(&b, "%s%g %g", op, round(x(c.xs[i])), round(y(l.ys[i])))
		}
		if i-from == 1 {
			fmt.Fprintf(&b, "h3")
		}
		if closed {
			fmt.Fprintf(&b, "L%g %gL%g %gZ", round(x(c.xs[i-1])), plotHeight, round(x(c.xs[from])), plotHeight)
		}
	}
	return b.String()
}

func (c *chart) barPath(l line, x, y func(float64) float64) string {
	var b strings.Builder
	for i, v := range l.ys {
		if v > 0 {
			left, right := x(c.xs[i]), x(c.xs[i+1])
			gap := (right - left) * 0.06
			fmt.Fprintf(&b, "M%g %gV%gH%gV%gZ", round(left+gap), plotHeight, round(min(y(v), plotHeight-1)), round(right-gap), plotHeight)
		}
	}
	return b.String()
}

func (c *chart) xScale() (func(float64) float64, []tickMark) {
	low, high := c.xs[0], c.xs[len(c.xs)-1]
	if high <= low {
		high = low + 1
	}
	if c.logX {
		return logScale(low, high, plotWidth, false, c.xLabel)
	}
	return linearScale(low, high, plotWidth, false, c.xLabel)
}

func (c *chart) yScale() (func(float64) float64, []tickMark) {
	low, high := math.Inf(1), 0.0
	for _, l := range c.lines {
		for _, v := range l.ys {
			if !math.IsNaN(v) {
				high = max(high, v)
				if v > 0 {
					low = min(low, v)
				}
			}
		}
	}
	if !c.Log {
		return linearScale(0, niceCeiling(high), plotHeight, true, c.yLabel)
	}
	if math.IsInf(low, 1) {
		low, high = 0.1, 1
	}
	return logScale(math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.0001))), plotHeight, true, c.yLabel)
}

func linearScale(low, high, length float64, up bool, label func(float64) string) (func(float64) float64, []tickMark) {
	place := func(v float64) float64 {
		at := (v - low) / (high - low) * length
		if up {
			return length - at
		}
		return at
	}
	step := niceStep((high - low) / 5)
	var ticks []tickMark
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step/1e6; i++ {
		v := i*step + 0 // never the negative zero
		ticks = append(ticks, tickMark{At: round((v - low) / (high - low) * 100), Label: label(v)})
	}
	return place, ticks
}

func logScale(low, high, length float64, up bool, label func(float64) string) (func(float64) float64, []tickMark) {
	from, to := math.Log10(low), math.Log10(high)
	place := func(v float64) float64 {
		at := (math.Log10(max(v, low)) - from) / (to - from) * length
		if up {
			return length - at
		}
		return at
	}
	var ticks []tickMark
	steps := []float64{1}
	if to-from < 2.5 {
		steps = []float64{1, 2, 5} // on a short axis the powers of ten alone say too little
	}
	for decade := math.Floor(from + 1e-9); decade <= to+1e-9; decade++ {
		for _, step := range steps {
			if at := decade + math.Log10(step); at >= from-1e-9 && at <= to+1e-9 {
				ticks = append(ticks, tickMark{At: round((at - from) / (to - from) * 100), Label: label(math.Pow(10, decade) * step)})
			}
		}
	}
	return place, ticks
}

// niceStep is the next of 1, 2, 5, 10, 20, 50 …
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range [...]float64{1, 2, 5, 10} {
		if v <= base*m*1.0000001 {
			return base * m
		}
	}
	return base * 10
}

func niceCeiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	step := niceStep(v / 5)
	return math.Ceil(v/step-1e-9) * step
}

// data is what the crosshair shows: at which x which values stand.
func (c *chart) data(x func(float64) float64) string {
	type column struct {
		X      float64  `json:"x"`
		Label  string   `json:"l"`
		Values []string `json:"v"`
	}
	var columns []column
	for i := range c.lines[0].ys {
		col := column{X: round(x(c.xs[i]) / plotWidth * 100), Label: c.xLabel(c.xs[i])}
		if c.Bars {
			col.X = round((x(c.xs[i]) + x(c.xs[i+1])) / 2 / plotWidth * 100)
			col.Label = c.xLabel(c.xs[i]) + " – " + c.xLabel(c.xs[i+1])
		}
		for _, l := range c.lines {
			text := "–"
			if !math.IsNaN(l.ys[i]) {
				text = c.yLabel(l.ys[i])
			}
			col.Values = append(col.Values, text)
		}
		columns = append(columns, col)
	}
	body, err := json.Marshal(columns)
	if err != nil {
		return "[]"
	}
	return string(body)
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

func clock(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%d:%02d h", int(d.Hours()), int(d.Minutes())%60)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	return strconv.FormatFloat(math.Round(s*100)/100, 'f', -1, 64) + " s"
}

func count(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 10_000:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// axisMillis writes milliseconds without needless digits: 1ms, 200µs, 10s.
func axisMillis(v float64) string {
	d := time.Duration(v * float64(time.Millisecond))
	if d >= time.Microsecond && d < 1000*time.Second {
		for _, u := range [...]struct {
			size time.Duration
			name string
		}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
			if d >= u.size {
				return strconv.FormatFloat(math.Round(float64(d)/float64(u.size)*100)/100, 'g', 3, 64) + " " + u.name
			}
		}
	}
	return thresholds.Duration(d)
}
