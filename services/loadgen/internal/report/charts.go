package report

import (
	"math"

	"orderflow.example/services/loadgen/internal/measure"
)

// fewestPoints is what a curve over time needs to say more than the table does.
const fewestPoints = 4

// charts are the pictures of a run; those without anything to show are left out.
func (s *Summary) charts() []chart {
	var all []chart
	if l := s.Load; l != nil && l.Series != nil {
		if points := l.during(); len(points) >= fewestPoints {
			all = append(all, l.rateChart(points), l.postChart(points), e2eChart(points))
		}
		all = append(all, queueChart(l.Series.Points), histogramChart("POST latency: histogram", "orders by how long their answer took", "s1", l.Post))
	}
	if s.E2E != nil {
		all = append(all, histogramChart("POST to completed: histogram", "orders by how long they took until they were processed", "s3", *s.E2E))
	}
	if s.Capacity != nil {
		all = append(all, capacityChart(s.Capacity))
	}
	var out []chart
	for _, c := range all {
		if c.drawable() {
			out = append(out, c)
		}
	}
	return out
}

// during is the part of the series in which orders were sent or answered, but for its last step: that is rarely a whole one, and would look like
// a collapse.
func (l *Load) during() []measure.Point {
	points := l.Series.Points
	for len(points) > 1 {
		if p := points[len(points)-1]; p.Sent+p.Accepted+p.Errors+p.Due != 0 {
			break
		}
		points = points[:len(points)-1]
	}
	if n := len(points); n > fewestPoints && l.Seconds < points[n-1].At+float64(l.Series.Millis)/1250 {
		points = points[:n-1]
	}
	return points
}

// column makes a curve of a value of each point.
func column(name, class string, points []measure.Point, value func(p *measure.Point) float64) line {
	l := line{Name: name, Class: class}
	for i := range points {
		l.ys = append(l.ys, value(&points[i]))
	}
	return l
}

// milliseconds makes a curve of a latency; where nothing was measured there is a gap.
func milliseconds(name, class string, points []measure.Point, value func(p *measure.Point) *float64) line {
	return column(name, class, points, func(p *measure.Point) float64 {
		if v := value(p); v != nil {
			return *v
		}
		return math.NaN()
	})
}

// overTime is a chart over the time of some points.
func overTime(title, note string, points []measure.Point, lines ...line) chart {
	xs := column("", "", points, func(p *measure.Point) float64 { return p.At })
	return chart{Title: title, Note: note, Lines: lines, xs: xs.ys, xLabel: clock, yLabel: count}
}

func (l *Load) stalled() (bands [][2]float64) {
	for _, s := range l.Stalls {
		bands = append(bands, [2]float64{s.At, s.At + s.For})
	}
	return bands
}

func (l *Load) rateChart(points []measure.Point) chart {
	second := float64(l.Series.Millis) / 1000
	c := overTime("Rate", "orders a second; shaded: nothing was answered", points,
		column("accepted", "s1", points, func(p *measure.Point) float64 { return float64(p.Accepted) / second }),
		column("sent", "s2", points, func(p *measure.Point) float64 { return float64(p.Sent) / second }),
		column("intended", "s0", points, func(p *measure.Point) float64 { return float64(p.Due) / second }),
		column("failed tries", "bad", points, func(p *measure.Point) float64 { return float64(p.Errors) / second }))
	c.Lines[0].filled, c.shaded = true, l.stalled()
	return c
}

func (l *Load) postChart(points []measure.Point) chart {
	since := "from when it was sent"
	if l.Model == "open" {
		since = "from when it was due"
	}
	c := overTime("POST latency", since+" until it was answered, retries included, for orders of that time", points,
		milliseconds("max", "s4", points, func(p *measure.Point) *float64 { return p.Max }), milliseconds("p99", "s3", points, func(p *measure.Point) *float64 { return p.P99 }),
		milliseconds("p90", "s2", points, func(p *measure.Point) *float64 { return p.P90 }), milliseconds("p50", "s1", points, func(p *measure.Point) *float64 { return p.P50 }))
	c.logY, c.yLabel, c.shaded = true, axisMillis, l.stalled()
	return c
}

func e2eChart(points []measure.Point) chart {
	c := overTime("POST to completed", "by the server's clock, for orders sent at that time", points,
		milliseconds("p99", "s3", points, func(p *measure.Point) *float64 { return p.E2EP99 }), milliseconds("p50", "s1", points, func(p *measure.Point) *float64 { return p.E2EP50 }))
	c.logY, c.yLabel = true, axisMillis
	return c
}

func queueChart(all []measure.Point) chart {
	var points []measure.Point
	for _, p := range all {
		if p.Depth != nil {
			points = append(points, p)
		}
	}
	if len(points) < fewestPoints {
		return chart{}
	}
	c := overTime("Queue depth", "messages, until every order was settled", points, column("messages", "s2", points, func(p *measure.Point) float64 { return float64(*p.Depth) }))
	c.Lines[0].filled = true
	return c
}

// histogramChart draws each bar as a step of one curve.
func histogramChart(title, note, class string, h measure.Latency) chart {
	c := chart{Title: title, Note: note, logX: true, xLabel: axisMillis, yLabel: count, Lines: []line{{Name: "orders", Class: class, filled: true}}}
	l := &c.Lines[0]
	for _, b := range h.Bars {
		c.xs = append(c.xs, b.From, b.To)
		l.ys = append(l.ys, float64(b.Count), float64(b.Count))
	}
	return c
}

func capacityChart(c *Capacity) chart {
	out := chart{Title: "Capacity", Note: "latency by rate; shaded: the thresholds held", logX: true, logY: true, xLabel: count, yLabel: axisMillis}
	out.Lines = []line{{Name: "POST p99", Class: "s3"}, {Name: "POST p50", Class: "s1"}, {Name: "POST to completed p99", Class: "s2"}}
	for _, x := range c.sorted() {
		if n := len(out.xs); n > 0 && out.xs[n-1] == x.Rate { // a rate that was tried twice stands with its last try
			out.xs = out.xs[:n-1]
			for i := range out.Lines {
				out.Lines[i].ys = out.Lines[i].ys[:n-1]
			}
		}
		out.xs = append(out.xs, x.Rate)
		for i, v := range [...]float64{x.PostP99, x.PostP50, x.E2EP99} {
			if v == 0 {
				v = math.NaN()
			}
			out.Lines[i].ys = append(out.Lines[i].ys, v)
		}
	}
	if c.Best > 0 && len(out.xs) > 0 {
		out.shaded = [][2]float64{{out.xs[0], c.Best}}
	}
	return out
}
