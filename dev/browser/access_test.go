package browser

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
)

//go:embed testdata/axe/axe.min.js
var axe string

// finding is what axe-core says of a page.
type finding struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// accessible judges the page that a tab shows by every rule of axe-core.
func (t tab) accessible(name string) {
	t.b.t.Helper()
	var found struct {
		Violations []finding `json:"violations"`
		Passes     int       `json:"passes"`
	}
	t.b.must(t.Inject(axe), t.Evaluate(`axe.run(document).then((r) => ({ violations: r.violations, passes: r.passes.length }))`, &found))
	if found.Passes < 15 {
		t.b.t.Errorf("%s: only %d rules had anything to look at", name, found.Passes)
	}
	for _, f := range found.Violations {
		var nodes strings.Builder
		for _, n := range f.Nodes[:min(len(f.Nodes), 4)] {
			fmt.Fprintf(&nodes, "\n  %s\n  %s", n.HTML, strings.ReplaceAll(n.Summary, "\n", "\n  "))
		}
		t.b.t.Errorf("%s: %s: %s (%d)%s", name, f.ID, f.Help, len(f.Nodes), nodes.String())
	}
}

// Every page, in both schemes and on a telephone, for whoever sees or hears it.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.orders(12)
	b.consumer("consumer-1")
	for _, view := range []chrome.View{
		{Width: 1440, Height: 900, Scheme: "light"}, {Width: 1440, Height: 900, Scheme: "dark"}, {Width: 400, Height: 800, Scheme: "dark"},
	} {
		name := fmt.Sprintf("%s, %d px, ", view.Scheme, view.Width)
		page := b.tab(view, "/")
		page.shows("#pulse", "Live")
		page.until("charts are drawn", `document.querySelectorAll('.plot canvas').length === 3`)
		page.accessible(name + "overview")
	}
}
