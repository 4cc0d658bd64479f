package alerts

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Every query of the Grafana dashboard has something to show of a system at work, in the unit that its panel says, each series with a
// name of its own; and no alert asks for what nobody tells.
func TestDashboardShowsARun(t *testing.T) {
	w := setup(t, options{})
	w.consumer("SIMULATE_FAILURES=example", "BACKOFF_BASE=10ms", "BACKOFF_MAX=20ms")
	w.consumer()
	w.quiet(func() { w.order(3) })
	if v := w.query(`sum(increase(orderflow_consumer_reconnects_total[15m]))`); len(v) != 1 || v[0].F != 0 {
		t.Errorf("nothing was lost, and %v connections were made again", v)
	}
	variables := w.variables()
	if variables["namespace"] != namespace || variables["release"] != release+"-orderflow" {
		t.Errorf("the dashboard's variables are %v", variables)
	}
	for _, p := range w.chart.Dashboard.Panels {
		for _, target := range p.Targets {
			expr := target.Expr
			for name, value := range variables {
				expr = strings.ReplaceAll(expr, "$"+name, value)
			}
			w.shows(p, target.RefID, expr, target.Legend)
		}
	}
	told := map[string]bool{}
	for _, pod := range w.pods {
		for _, name := range w.prometheus.Names(pod) {
			told[name] = true
		}
	}
	asked := w.asked()
	for _, name := range asked {
		if !told[name] {
			t.Errorf("an alert asks for %s, which nobody tells", name)
		}
	}
	var unused []string
	for name := range told {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		used := slices.ContainsFunc(asked, func(n string) bool { return strings.HasPrefix(n, base) })
		for _, p := range w.chart.Dashboard.Panels {
			for _, target := range p.Targets {
				used = used || strings.Contains(target.Expr, base)
			}
		}
		if !used && strings.HasPrefix(base, "orderflow_") && !slices.Contains(unused, base) {
			unused = append(unused, base)
		}
	}
	slices.Sort(unused)
	t.Logf("neither the dashboard nor an alert uses\n%s", strings.Join(unused, "\n"))
}

func (w *world) query(expr string) promql.Vector {
	w.Helper()
	v, err := w.prometheus.Query(w.ctx, expr)
	if err != nil {
		w.Fatalf("%s: %v", expr, err)
	}
	return v
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// variables finds the values of the dashboard's variables as Grafana does, one after the other.
func (w *world) variables() map[string]string {
	w.Helper()
	found := map[string]string{"__rate_interval": fmt.Sprintf("%ds", int(4*w.chart.Interval/time.Second))}
	for _, v := range w.chart.Dashboard.Vars.List {
		var of struct {
			Query string `json:"query"`
		}
		if json.Unmarshal(v.Query, &of) != nil {
			continue // the data source
		}
		query := of.Query
		for name, value := range found {
			query = strings.ReplaceAll(query, "$"+name, value)
		}
		parts := labelValues.FindStringSubmatch(query)
		if parts == nil {
			w.Fatalf("the variable %s asks %q", v.Name, query)
		}
		pattern := regexp.MustCompile(strings.Trim(v.Regex, "/"))
		for _, s := range w.query(parts[1]) {
			value := s.Metric.Get(parts[2])
			if v.Regex != "" {
				if groups := pattern.FindStringSubmatch(value); groups != nil {
					value = groups[1]
				} else {
					continue
				}
			}
			found[v.Name] = value
		}
	}
	return found
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// shows wants that a panel's query has data, which its legend tells apart, in the unit of the panel.
func (w *world) shows(p Panel, ref, expr, legend string) {
	w.Helper()
	vector := w.query(expr)
	names, shown := map[string]bool{}, false
	for _, s := range vector {
		shown = shown || !math.IsNaN(s.F)
		names[placeholder.ReplaceAllStringFunc(legend, func(m string) string {
			value := s.Metric.Get(strings.Trim(m, "{}"))
			if value == "" {
				w.Errorf("%q: the legend %q has a label that %s has not", p.Title, legend, expr)
			}
			return value
		})] = true
	}
	if !shown {
		w.Errorf("%q: there is nothing of %s", p.Title, expr)
	}
	if len(names) != len(vector) {
		w.Errorf("%q: the legend %q does not tell the %d series of %s apart", p.Title, legend, len(vector), expr)
	}
	unit := p.Config.Defaults.Unit
	for _, o := range p.Config.Overrides {
		for _, property := range o.Properties {
			if o.Matcher.ID == "byFrameRefID" && o.Matcher.Options == ref && property.ID == "unit" {
				unit = property.Value
			}
		}
	}
	if want := units(expr, legend); !slices.Contains(want, unit) {
		w.Errorf("%q: the unit of %s is %s, want one of %v", p.Title, expr, unit, want)
	}
}

// units are those that an expression may be shown in: its metric's name says what it measures.
func units(expr, legend string) []string {
	switch rate := strings.Contains(expr, "rate("); {
	case strings.Contains(expr, "_seconds_bucket"), !rate && strings.Contains(expr, "_seconds"):
		return []string{"s"}
	case !rate && strings.Contains(expr, "_bytes"):
		return []string{"bytes"}
	case rate && strings.Count(expr, "rate(") == 2: // a mean
		return []string{"short"}
	case rate && strings.Contains(legend, "/s"):
		return []string{"short"}
	case rate:
		return []string{"ops", "reqps"}
	}
	return []string{"short"}
}

// asked are the names of the metrics in the alerts.
func (w *world) asked() (names []string) {
	for _, g := range w.prometheus.groups {
		for _, r := range g.AlertingRules() {
			parser.Inspect(r.Query(), func(n parser.Node, _ []parser.Node) error {
				if s, is := n.(*parser.VectorSelector); is {
					for _, m := range s.LabelMatchers {
						if m.Name == model.MetricNameLabel {
							names = append(names, m.Value)
						}
					}
				}
				return nil
			})
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
