package dashboard

import (
	"slices"
	"time"
)

// chartView is a chart as a page shows it without a script: what its lines are, their values of now, and all of them as a table. With one,
// static/dashboard.js draws the same lines above the table.
type chartView struct {
	Name, Title string
	Lines       []chartLine
	Rows        []chartRow // the latest first
}

type chartLine struct {
	Label string
	Class string // of the style sheet, for the colour
	Now   string
}

type chartRow struct {
	At    time.Time
	Cells []string
}

// column is a column of a window, with the words for its values.
type column struct {
	label, class string
	of           func(*Window) []*float64
	words        func(*float64) string
}

func known(words func(float64) string) func(*float64) string {
	return func(v *float64) string {
		if v == nil {
			return none
		}
		return words(*v)
	}
}

var (
	whole   = known(func(v float64) string { return thousands(int64(v + 0.5)) })
	seconds = known(brief)
)

// brief writes a number of seconds in one unit: there are three beside each other above a chart. The script does the same.
func brief(seconds float64) string {
	switch {
	case seconds < 9.95:
		return age(seconds)
	case seconds < 599.5:
		return thousands(int64(seconds+0.5)) + " s"
	case seconds < 10*3600:
		return thousands(int64(seconds/60+0.5)) + " min"
	default:
		return thousands(int64(seconds/3600+0.5)) + " h"
	}
}

// columns are the lines of each chart. The script knows them by the same names.
var columns = map[string][]column{
	"flow": {
		{"in", "in", func(w *Window) []*float64 { return w.Accepted }, rate},
		{"out", "out", func(w *Window) []*float64 { return w.Completed }, rate},
	},
	"backlog": {
		{"messages", "backlog", backlog, whole},
		{"consumers", "consumers", func(w *Window) []*float64 { return w.Consumers }, whole},
	},
	"latency": {
		{"p50", "p50", func(w *Window) []*float64 { return w.P50 }, seconds},
		{"p95", "p95", func(w *Window) []*float64 { return w.P95 }, seconds},
		{"p99", "p99", func(w *Window) []*float64 { return w.P99 }, seconds},
	},
}

// backlog is everything that is in the queue: what waits, what is worked on, and what is delayed.
func backlog(w *Window) []*float64 {
	sums := make([]*float64, len(w.At))
	for i := range sums {
		if a, b, c := w.Waiting[i], w.InFlight[i], w.Delayed[i]; a != nil && b != nil && c != nil {
			sum := *a + *b + *c
			sums[i] = &sum
		}
	}
	return sums
}

// chart prepares a chart of the last minutes. Without a series it has its lines, and no values.
func chart(name, title string, series *Series) chartView {
	view := chartView{Name: name, Title: title}
	var values [][]*float64
	for _, c := range columns[name] {
		line := chartLine{Label: c.label, Class: c.class, Now: none}
		if series != nil {
			column := c.of(&series.Minutes)
			values = append(values, column)
			if len(column) > 0 {
				line.Now = c.words(column[len(column)-1])
			}
		}
		view.Lines = append(view.Lines, line)
	}
	if series == nil {
		return view
	}
	for i, at := range series.Minutes.At {
		row := chartRow{At: time.Unix(at, 0)}
		for j, c := range columns[name] {
			row.Cells = append(row.Cells, c.words(values[j][i]))
		}
		view.Rows = append(view.Rows, row)
	}
	slices.Reverse(view.Rows)
	return view
}
