package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html.tmpl
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// WriteHTML writes the summary as one page that needs nothing else: the verdict, the final table, and pictures.
func (s *Summary) WriteHTML(path string) error {
	var text, body strings.Builder
	s.Text(&text)
	verdict, colour := s.verdict()
	err := page.Execute(&body, map[string]any{"S": s, "Verdict": verdict, "Colour": colour, "Text": strings.TrimSpace(text.String()), "Charts": s.charts()})
	if err != nil {
		return fmt.Errorf("draw the HTML report: %w", err)
	}
	return write("HTML report", path, []byte(body.String()))
}

// verdict is the outcome in a few words, and its colour: green only for what was proved.
func (s *Summary) verdict() (text, colour string) {
	switch {
	case len(s.Faults) > 0:
		return "failed", "bad"
	case s.Interrupted:
		return "interrupted", "bad"
	case s.Capacity != nil:
		return "holds " + rate(s.Capacity.Best) + " orders a second", "ok"
	case len(s.Warnings) > 0:
		return "no fault in what was sent, but not all was", "warn"
	case s.Audit != nil:
		return "every accepted order was processed once", "ok"
	}
	return "done, not audited", "warn"
}
