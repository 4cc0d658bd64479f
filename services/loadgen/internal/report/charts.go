package report

import (
	"math"
	"slices"

	"orderflow.example/services/loadgen/internal/measure"
)

// fewestPoints is what a curve over time needs to say more than the table does.
const fewestPoints = 4

// charts are the pictures of a run; those without anything to show are left out.
func (s *Summary) charts() []drawn {
	var all []chart
	if l := s.Load; l != nil && len(l.Series.Points) > 0 {
		if len(during(l)) >= fewestPoints {
			all = append(all, rateChart(l), postChart(l), e2eChart(l))
		}
		all = append(all, queueChart(l))
		all = append(all, histogramChart("POST latency: histogram", "orders by how long their answer took", "s1", l.Post))
	}
	if s.E2E != nil {
		all = append(all, histogramChart("POST to completed: histogram", "orders by how long they took until they were processed", "s3", *s.E2E))
	}
	if s.Capacity != nil {
		all = append(all, capacityChart(s.Capacity))
	}
	var out []drawn
	for i := range all {
		if !all[i].empty() {
			out = append(out, all[i].draw())
		}
	}
	return out
}

// during is the part of the series in which orders were sent or answered.
func during(l *Load) []measure.Point {
	points := l.Series.Points
	for len(points) > 1 {
		if p := points[len(points)-1]; p.Sent != 0 || p.Accepted != 0 || p.Errors != 0 || p.Due != 0 {
			break
		}
		points = points[:len(points)-1]
	}
	return points
}

func column(points []measure.Point, value func(p *measure.Point) float64) []float64 {
	ys := make([]float64, len(points))
	for i := range points {
		ys[i] = value(&points[i])
	}
	return ys
}

func optional(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func times(points []measure.Point) []float64 {
	return column(points, func(p *measure.Point) float64 { return p.At })
}

func stallBands(l *Load) [][2]float64 {
	var bands [][2]float64
	for _, s := range l.Stalls {
		bands = append(bands, [2]float64{s.At, s.At + s.For})
	}
	return bands
}

func rateChart(l *Load) chart {
	points := during(l)
	width := float64(l.Series.Millis) / 1000
	bulk := float64(max(1, l.Bulk))
	c := chart{
		Title: "Rate", Note: "a second; shaded: nothing was answered", xs: times(points), bands: stallBands(l), shade: "bad", xLabel: clock, yLabel: count,
		lines: []line{
			{Name: "accepted", Class: "s1", area: true, ys: column(points, func(p *measure.Point) float64 { return float64(p.Accepted) / width })},
			{Name: "sent", Class: "s2", ys: column(points, func(p *measure.Point) float64 { return float64(p.Sent) / width })},
		},
	}
	if l.Intended > 0 {
		c.lines = append(c.lines, line{Name: "intended", Class: "s0", ys: column(points, func(p *measure.Point) float64 { return float64(p.Due) / width })})
	}
	if l.Totals.Failed > 0 {
		c.lines = append(c.lines, line{Name: "failed tries", Class: "bad", ys: column(points, func(p *measure.Point) float64 { return float64(p.Errors) * bulk / width })})
	}
	// The last step of a run is rarely a whole one; as a rate it would look like a collapse.
	if n := len(points); n > 3 && l.Seconds < points[n-1].At+width*0.8 {
		c.xs = c.xs[:n-1]
		for i := range c.lines {
			c.lines[i].ys = c.lines[i].ys[:n-1]
		}
	}
	return c
}

func postChart(l *Load) chart {
	points := during(l)
	return chart{
		Title: "POST latency", Note: since(l) + " until it was answered, retries included, for orders of that time; logarithmic", Log: true, xs: times(points), bands: stallBands(l), shade: "bad",
		xLabel: clock, yLabel: axisMillis,
		lines: []line{
			{Name: "max", Class: "s4", ys: column(points, func(p *measure.Point) float64 { return optional(p.Max) })},
			{Name: "p99", Class: "s3", ys: column(points, func(p *measure.Point) float64 { return optional(p.P99) })},
			{Name: "p90", Class: "s2", ys: column(points, func(p *measure.Point) float64 { return optional(p.P90) })},
			{Name: "p50", Class: "s1", ys: column(points, func(p *measure.Point) float64 { return optional(p.P50) })},
		},
	}
}

func since(l *Load) string {
	if l.Model == "open" {
		return "from when it was due"
	}
	return "from when it was sent"
}

func e2eChart(l *Load) chart {
	points := during(l)
	return chart{
		Title: "POST to completed", Note: "by the server's clock, for orders sent at that time; logarithmic", Log: true, xs: times(points), xLabel: clock, yLabel: axisMillis,
		lines: []line{
			{Name: "p99", Class: "s3", ys: column(points, func(p *measure.Point) float64 { return optional(p.E2EP99) })},
			{Name: "p50", Class: "s1", ys: column(points, func(p *measure.Point) float64 { return optional(p.E2EP50) })},
		},
	}
}

func queueChart(l *Load) chart {
	var points []measure.Point
	for _, p := range l.Series.Points {
		if p.Depth != nil {
			points = append(points, p)
		}
	}
	if len(points) < fewestPoints {
		return chart{}
	}
	return chart{
		Title: "Queue depth", Note: "messages, as GET /queue tells it, until every order was settled", xs: times(points), xLabel: clock, yLabel: count,
		lines: []line{{Name: "messages", Class: "s2", area: true, ys: column(points, func(p *measure.Point) float64 { return float64(*p.Depth) })}},
	}
}

func histogramChart(title, note, class string, h measure.Latency) chart {
	if len(h.Bars) == 0 {
		return chart{}
	}
	c := chart{Title: title, Note: note, Bars: true, logX: true, xLabel: axisMillis, yLabel: count}
	// The axis goes over whole decades; a histogram of one bar would otherwise be one block.
	from, to := math.Floor(math.Log10(h.Bars[0].From)+1e-9), math.Ceil(math.Log10(h.Bars[len(h.Bars)-1].To)-1e-9)
	step := math.Log10(h.Bars[0].To / h.Bars[0].From)
	n := int(math.Round((to - from) / step))
	l := line{Name: "orders", Class: class, ys: make([]float64, n)}
	for i := range n + 1 {
		c.xs = append(c.xs, math.Pow(10, from+float64(i)*step))
	}
	for _, b := range h.Bars {
		i := int(math.Round((math.Log10(b.From) - from) / step))
		l.ys[min(max(i, 0), n-1)] += float64(b.Count)
	}
	c.lines = []line{l}
	return c
}

func capacityChart(c *Capacity) chart {
	steps := sortedSteps(c)
	// A rate that was tried twice stands with its last try.
	slices.Reverse(steps)
	steps = slices.CompactFunc(steps, func(a, b Step) bool { return a.Rate == b.Rate })
	slices.Reverse(steps)
	out := chart{Title: "Capacity", Note: "latency by rate; logarithmic", Log: true, xLabel: count, yLabel: axisMillis}
	names := []line{{Name: "POST p99", Class: "s3"}, {Name: "POST p50", Class: "s1"}, {Name: "POST to completed p99", Class: "s2"}}
	for _, x := range steps {
		out.xs = append(out.xs, x.Rate)
		for i, v := range [...]float64{x.PostP99, x.PostP50, x.E2EP99} {
			if v == 0 {
				v = math.NaN()
			}
			names[i].ys = append(names[i].ys, v)
		}
	}
	out.lines = names
	if c.Best > 0 {
		out.bands, out.shade = [][2]float64{{steps[0].Rate, c.Best}}, "ok"
		out.Note = "latency by rate; logarithmic; shaded: the thresholds held"
	}
	return out
}
