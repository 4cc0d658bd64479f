package alerts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"orderflow.example/dev/internal/chaos"
	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/stack"
)

// What `promtool check metrics` says of what the three services tell while they are at work.
func TestMetricsAreNamedAsPrometheusWantsThem(t *testing.T) {
	w := setup(t, options{})
	w.consumer("SIMULATE_FAILURES=example")
	port, err := ports.Free()
	w.must(err)
	load, err := w.stack.Loadgen(w.api, nil, "RATE=20", "DURATION=1m", "ORDERS=0", "PROGRESS=off", "AUDIT=false", fmt.Sprintf("METRICS_PORT=%d", port))
	w.must(err)
	t.Cleanup(load.Kill)
	urls := map[string]string{"api": w.api.MetricsURL(), "consumer": w.consumers[0].MetricsURL(), "loadgen": fmt.Sprintf("http://127.0.0.1:%d", port)}
	for service, url := range urls {
		var body []byte
		w.until(service+" is at work", func() error {
			var err error
			if body, _, err = fetch(w.ctx, url, "text/plain;version=0.0.4"); err == nil && !bytes.Contains(body, []byte("\norderflow_"+service+"_")) {
				err = errNotYet
			}
			return err
		})
		problems, err := promlint.New(bytes.NewReader(body)).Lint()
		w.must(err)
		for _, p := range problems {
			t.Errorf("%s: %s: %s", service, p.Metric, p.Text)
		}
	}
}

// What `promtool check rules` says is an error already where they are loaded; beyond that each has what a person needs who is woken up.
func TestAlertsTellWhatToDo(t *testing.T) {
	t.Parallel()
	c, err := Render(t.Context(), "metrics.rules.runbookBase=")
	if err != nil {
		t.Fatal(err)
	}
	if base := c.Links[0]; base != "" {
		t.Errorf("without a base there is a link, %s", base)
	}
	if c, err = Render(t.Context()); err != nil {
		t.Fatal(err)
	}
	sections := runbook(t)
	for i, name := range c.Names {
		if !strings.HasPrefix(name, "Orderflow") || slices.Index(c.Names, name) != i {
			t.Errorf("%s is no name for an alert of ours, or there are two", name)
		}
		if want, is := alerts[name]; !is || c.Severity[i] != want.severity {
			t.Errorf("%s has the severity %q, want %q", name, c.Severity[i], want.severity)
		}
		if link := c.Links[i]; !strings.HasSuffix(link, "#"+strings.ToLower(name)) {
			t.Errorf("%s links %q", name, link)
		}
		text, is := sections[name]
		if !is {
			t.Errorf("docs/operations.md has no section %s", name)
		}
		for _, part := range []string{"**Means**", "**Confirm**", "**Do**"} {
			if is && !strings.Contains(text, part) {
				t.Errorf("docs/operations.md, %s: there is no %s", name, part)
			}
		}
		delete(sections, name)
	}
	for name := range sections {
		t.Errorf("docs/operations.md has a section %s, and there is no such alert", name)
	}
}

// runbook are the sections of docs/operations.md about alerts.
func runbook(t *testing.T) map[string]string {
	t.Helper()
	sections := map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^##+ `).Split(read(t, "docs/operations.md"), -1) {
		title, text, _ := strings.Cut(part, "\n")
		if strings.HasPrefix(title, "Orderflow") {
			sections[title] = text
		}
	}
	return sections
}

func read(t *testing.T, file string) string {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var row = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*)\|$`)

// docs/reference/faults.md says which alert each fault raises. Every fault of `make chaos` is there, every alert has a fault that raises
// it, and the test that is named shows it.
func TestEveryFaultHasItsAlert(t *testing.T) {
	t.Parallel()
	c, err := Render(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(read(t, "docs/reference/faults.md"), "# Which alert a fault raises\n")
	if !found {
		t.Fatal("docs/reference/faults.md does not say which alert a fault raises")
	}
	tests := read(t, "dev/alerts/faults_test.go")
	body := func(name string) string {
		_, rest, _ := strings.Cut(tests, "\nfunc "+name+"(")
		text, _, _ := strings.Cut(rest, "\nfunc Test")
		return text
	}
	faults, raised := map[string]int{}, map[string]bool{}
	for _, cells := range row.FindAllStringSubmatch(table, -1)[1:] {
		for _, name := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(cells[1], -1) {
			faults[name[1]]++
			if _, err := chaos.Select(name[1]); err != nil {
				t.Error(err)
			}
		}
		for _, alert := range regexp.MustCompile(`Orderflow\w+`).FindAllString(cells[2], -1) {
			raised[alert] = true
			shown := regexp.MustCompile(`Test\w+`).FindAllString(cells[3], -1)
			if len(shown) == 0 {
				t.Errorf("%s: no test shows that it raises %s", cells[1], alert)
			}
			for _, test := range shown {
				shows := alert
				if alert == "OrderflowDeadLetters" {
					shows = "w.deadLetters(" // which names it
				}
				if !strings.Contains(body(test), shows) {
					t.Errorf("%s does not show that %s raises %s", test, cells[1], alert)
				}
			}
		}
	}
	for _, f := range chaos.Faults() {
		if faults[f.Name] != 1 {
			t.Errorf("the fault %s is in the table %d times", f.Name, faults[f.Name])
		}
	}
	for _, name := range c.Names {
		if !raised[name] {
			t.Errorf("no fault raises %s", name)
		}
	}
}
