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

// Every page, in both schemes and on a telephone, for whoever sees or hears it. None is wider than the window.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.deadLetters()
	b.consumer("consumer-1", "MAX_ATTEMPTS=1", "SIMULATE_FAILURES=example")
	for _, view := range []chrome.View{
		{Width: 1440, Height: 900, Scheme: "light"}, {Width: 1024, Height: 900, Scheme: "dark"}, {Width: 400, Height: 800, Scheme: "light"},
	} {
		name := fmt.Sprintf("%s, %d px, ", view.Scheme, view.Width)
		page := b.tab(view, "/", "404") // the page of an order that is not there
		page.shows("#pulse", "Live")
		page.until("charts are drawn", `document.querySelectorAll('.plot canvas').length === 3`)
		page.shows("#consumers", "consumer-1")
		page.accessible(name + "overview")
		for _, path := range []string{"/ui/orders", "/ui/orders?q=nobody", "/ui/orders/2", "/ui/orders/404404", "/ui/dead-letters", "/ui/sign-in"} {
			page.open(path)
			page.accessible(name + path)
		}
		page.write("#token", adminToken+chrome.Enter)
		page.shows(".session", "Sign out")
		for _, path := range []string{"/", "/ui/orders/2", "/ui/dead-letters"} {
			page.open(path)
			page.until("it may be changed", `document.querySelector('form[action*="/ui/"]:not([action$=sign-out]), .gate') !== null`)
			page.accessible(name + path + ", signed in")
		}
		page.click("#dry-run")
		page.shows("#plan", "dead letters would go back")
		page.accessible(name + "dry run")
	}
}

// What is shown of an outage can be read, too.
func TestGreyFiguresCanBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.orders(12)
	for _, scheme := range []string{"light", "dark"} {
		page := b.tab(chrome.View{Width: 1440, Height: 900, Scheme: scheme}, "/")
		page.shows("#pulse", "Live")
		b.must(page.Evaluate(`document.documentElement.classList.add('stale')`, nil))
		page.accessible(scheme + ", grey")
	}
}

// Who has no script sees the same, and can do the same.
func TestPagesWorkWithoutAScript(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.deadLetters()
	view := chrome.Desktop
	view.NoScript = true
	page := b.tab(view, "/")
	page.shows("#figures", "completed 5")
	page.shows("main noscript", "load it again")
	page.shows("#latest", "Customer")
	page.click(`#figures a[href$="ui/dead-letters"]`)
	page.shows("h1", "Dead letters")
	page.signIn()
	page.click("#dry-run")
	page.shows("#plan", "5 dead letters would go back")
	page.click("#confirm")
	page.shows(".notice", "5 dead letters are back in the queue")
	page.open("/")
	page.write("#reason", "no script"+chrome.Enter)
	page.shows("#notices", "no script")
	page.click(".when-paused button")
	page.until("it goes on", `!document.querySelector('#notices').innerText.includes('no script')`)
}

// Browsers say of a form that is sent over plain HTTP to another host than this machine less of where it comes from.
func TestFormsWorkUnderTheNameOfAnotherHost(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	page := b.tab(chrome.Desktop, "/")
	b.must(page.Go(strings.Replace(b.api.URL(), "127.0.0.1", chrome.OtherName, 1) + "/ui/sign-in"))
	page.write("#token", adminToken+chrome.Enter)
	page.shows(".session", "Sign out")
	page.write("#reason", "by another name"+chrome.Enter)
	page.shows("#notices", "by another name")
}
