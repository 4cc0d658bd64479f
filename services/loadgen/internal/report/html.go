package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/thresholds"
)

//go:embed report.html.tmpl
var pageSource string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"grouped": func(n any) string {
		switch n := n.(type) {
		case int:
			return grouped(int64(n))
		case int64:
			return grouped(n)
		}
		return fmt.Sprint(n)
	},
	"attempts": func(n int64) string { return several(n, "attempt") },
	"millis":   millis,
	"rate":     rate,
	"percent":  func(v float64) string { return thresholds.Format(v, thresholds.Ratio) },
	"visible":  func(key string) string { return strings.ReplaceAll(key, "\x1f", "#") },
	"time":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"moment":   func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
}).Parse(pageSource))

// tile is one number at the top of the page.
type tile struct {
	Name, Value, Sub string
	Class            string // ok, bad or nothing
}

type latencyRow struct {
	Name, Meaning string
	measure.Latency
}

type pair struct{ Name, Value string }

// WriteHTML writes the summary as one page that needs nothing else.
func (s *Summary) WriteHTML(path string) error {
	var b strings.Builder
	title, pictures := map[string]string{"audit": "Audit", "capacity": "Capacity search"}[s.Command], "Over time"
	if title == "" {
		title = "Load test"
	}
	if s.Load == nil {
		pictures = "Latency by rate"
		if s.Capacity == nil {
			pictures = "Histogram"
		}
	}
	if err := page.Execute(&b, map[string]any{
		"Title": title, "Pictures": pictures,
		"Columns": columns(len(s.tiles())),
		"S":       s, "Verdict": s.verdict(), "Colour": s.colour(), "Tiles": s.tiles(), "Charts": s.charts(), "Latencies": s.latencies(), "Answers": s.answers(), "Settings": s.settings(),
		"Steps": sortedSteps(s.Capacity),
	}); err != nil {
		return fmt.Errorf("draw the HTML report: %w", err)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a report is there to be read by others
		return fmt.Errorf("write the HTML report: %w", err)
	}
	return nil
}

func (s *Summary) verdict() string {
	switch {
	case len(s.Faults) > 0:
		return "failed"
	case s.Interrupted:
		return "interrupted"
	case s.Capacity != nil:
		return "holds " + rate(s.Capacity.Best) + " orders a second"
	case len(s.Warnings) > 0:
		return "no fault in what was sent, but not all was"
	case s.Audit != nil && s.Audit.EffectsUnseen:
		return "every accepted order was processed; whether once, the api does not show"
	case s.Audit != nil:
		return "every accepted order was processed once"
	}
	return "done, not audited"
}

// colour is the verdict's: green only for what was proved.
func (s *Summary) colour() string {
	switch {
	case len(s.Faults) > 0, s.Interrupted:
		return "bad"
	case len(s.Warnings) > 0, s.Capacity == nil && (s.Audit == nil || s.Audit.EffectsUnseen):
		return "warn"
	}
	return "ok"
}

func (s *Summary) tiles() []tile {
	var tiles []tile
	must := func(name string, n int, sub string) {
		t := tile{Name: name, Value: grouped(int64(n)), Sub: sub, Class: "ok"}
		if n > 0 {
			t.Class = "bad"
		}
		tiles = append(tiles, t)
	}
	if c := s.Capacity; c != nil {
		tiles = append(tiles, tile{Name: "capacity", Value: rate(c.Best) + "/s", Sub: strings.ReplaceAll(c.Conditions, ",", ", ")})
	}
	if a := s.Audit; a != nil {
		tiles = append(tiles, tile{Name: "accepted", Value: grouped(int64(a.Accepted)), Sub: "answered 201"},
			tile{Name: "completed", Value: grouped(int64(a.Completed)), Sub: "processed"})
		if a.Dead > 0 {
			tiles = append(tiles, tile{Name: "dead", Value: grouped(int64(a.Dead)), Sub: "in the dead letters"})
		}
		must("lost", a.Lost, "accepted, not there")
		must("duplicated", a.Duplicated, "more than once")
		must("stuck", a.Stuck, "still pending")
		for _, x := range [...]struct {
			name, sub string
			n         int
		}{{"undetermined", "audit cut short", a.Undetermined}, {"altered", "other data stored", a.Altered}, {"misnamed", "another's id", a.Misnamed}} {
			if x.n > 0 {
				must(x.name, x.n, x.sub)
			}
		}
		if a.NoEffect > 0 {
			must("no effect", a.NoEffect, "completed, not processed")
		}
		if a.Unknown.Orders > 0 {
			must("unknown", a.Unknown.Orders, "never answered")
		}
	}
	if l := s.Load; l != nil {
		sub := l.Model + " model"
		if l.Intended > 0 {
			sub = fmt.Sprintf("%.1f%% of %s/s intended", l.Kept*100, rate(l.Intended))
		}
		tiles = append(tiles, tile{Name: "rate", Value: rate(l.Achieved) + "/s", Sub: sub})
		if l.Post.Count > 0 {
			tiles = append(tiles, tile{Name: "POST p50", Value: millis(l.Post.P50)}, tile{Name: "POST p99", Value: millis(l.Post.P99)})
		}
	}
	if s.E2E != nil {
		tiles = append(tiles, tile{Name: "completed p99", Value: millis(s.E2E.P99), Sub: "from POST"})
	}
	if s.Drain != nil {
		tiles = append(tiles, tile{Name: "drain", Value: seconds(*s.Drain), Sub: "last order to last completed"})
	}
	return tiles
}

// columns is how many tiles stand beside each other, so that none is left alone on a row.
func columns(tiles int) int {
	const most = 7
	rows := max(1, (tiles+most-1)/most)
	return max(1, (tiles+rows-1)/rows)
}

func (s *Summary) latencies() []latencyRow {
	var rows []latencyRow
	if l := s.Load; l != nil {
		rows = append(rows, latencyRow{"POST", since(l) + " to its answer, retries included", l.Post}, latencyRow{"one try", "from sending to answer", l.Service})
	}
	if s.E2E != nil {
		rows = append(rows, latencyRow{"completed", "from POST to completed, by the server's clock", *s.E2E})
	}
	return slices.DeleteFunc(rows, func(r latencyRow) bool { return r.Count == 0 })
}

func (s *Summary) answers() []pair {
	l := s.Load
	if l == nil {
		return nil
	}
	t := &l.Totals
	rows := []pair{{"load", l.Model + " model, " + l.Shape}, {"orders", grouped(t.Sent) + " sent, " + grouped(t.Accepted) + " accepted"}}
	add := func(n int64, name, value string) {
		if n > 0 {
			rows = append(rows, pair{name, value})
		}
	}
	add(1, "tries", triesText(t))
	add(t.Replayed, "replayed", grouped(t.Replayed)+" orders were answered with an earlier answer")
	add(int64(len(t.Unheard)), "committed unheard", counts(t.Unheard)+": the answer was lost, the retry found the order made")
	add(t.RetryAfter, "Retry-After", fmt.Sprintf("honoured %s times, %s in all", grouped(t.RetryAfter), seconds(float64(t.RetryAfterMillis)/1000)))
	add(t.Due, "arrivals", fmt.Sprintf("%s due, %s late (at most %s), %s dropped", grouped(t.Due), grouped(t.Late), millis(t.MaxLate), grouped(t.Dropped)))
	for _, kind := range slices.Sorted(maps.Keys(t.Wrong)) {
		x := t.Wrong[kind]
		add(x.Sent, kind, fmt.Sprintf("%s sent, %s answered as expected, %s wrongly, %s not at all", grouped(x.Sent), grouped(x.Expected), grouped(x.Wrong), grouped(x.Unheard)))
	}
	add(int64(len(l.Stalls)), "stalls", stallsText(l.Stalls))
	add(1, "own cost", fmt.Sprintf("%.2f processor cores", l.Cores))
	if u := s.unknown(); u != "" {
		rows = append(rows, pair{"unknown", u})
	}
	return rows
}

func (s *Summary) unknown() string {
	if s.Audit == nil || s.Audit.Unknown.Orders == 0 {
		return ""
	}
	u := s.Audit.Unknown
	text := fmt.Sprintf("%s never answered: %s not found, %s completed, %s dead, %s pending", grouped(int64(u.Orders)), grouped(int64(u.Missing)),
		grouped(int64(u.Completed)), grouped(int64(u.Dead)), grouped(int64(u.Pending)))
	if n := u.Orders - u.Missing - u.Completed - u.Dead - u.Pending; n > 0 {
		text += fmt.Sprintf(", %s not looked for", grouped(int64(n)))
	}
	return text
}

func (s *Summary) settings() []pair {
	var rows []pair
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		rows = append(rows, pair{name, s.Settings[name]})
	}
	return rows
}
