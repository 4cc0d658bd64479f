package alerts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Target is what is scraped, with the labels that the operator's monitors give it.
type Target struct {
	URL, Pod string
}

// Prometheus has the engine, the rules and the storage of the real one. Its clock goes on by an interval with each scrape, and it does
// nothing by itself.
type Prometheus struct {
	now      time.Time
	interval time.Duration
	db       *tsdb.DB
	engine   *promql.Engine
	groups   []*rules.Group
	series   map[string]map[string]labels.Labels // that each target had at its last scrape, by its pod
}

// client makes a connection for each scrape: a process that was killed must not leave us with one.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// New makes one with the rules of a chart, in an empty directory.
func New(ctx context.Context, dir string, c *Chart) (*Prometheus, error) {
	quiet := slog.New(slog.DiscardHandler)
	options := tsdb.DefaultOptions()
	options.RetentionDuration = math.MaxInt64
	db, err := tsdb.Open(filepath.Join(dir, "data"), quiet, nil, options, nil)
	if err != nil {
		return nil, fmt.Errorf("open the storage: %w", err)
	}
	p := &Prometheus{
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), interval: c.Interval, db: db, series: map[string]map[string]labels.Labels{},
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: quiet, MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
			Parser: parser.NewParser(parser.Options{}),
		}),
	}
	file := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(file, c.Rules, 0o600); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(p.engine, db), AppendableV2: db, Queryable: db, Context: ctx, Logger: quiet,
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Parser: parser.NewParser(parser.Options{}),
	})
	groups, problems := manager.LoadGroups(c.Interval, labels.EmptyLabels(), "", nil, false, file)
	if problems != nil {
		return nil, errors.Join(append(problems, db.Close())...)
	}
	for _, g := range groups {
		p.groups = append(p.groups, g)
		for _, r := range g.AlertingRules() {
			r.SetRestored(true) // there is nothing to restore
		}
	}
	return p, nil
}

// Close closes the storage.
func (p *Prometheus) Close() error { return p.db.Close() }

// Scrape lets an interval pass, scrapes all targets and evaluates the rules. A target that does not answer, or that is not among them any
// more, has no series from then on. The alerts that fire are returned, each name once.
func (p *Prometheus) Scrape(ctx context.Context, targets ...Target) (firing []string, err error) {
	p.now = p.now.Add(p.interval)
	out := p.db.AppenderV2(ctx)
	seen := map[string]bool{}
	for _, t := range targets {
		seen[t.Pod] = true
		if err := p.scrape(ctx, out, t); err != nil {
			return nil, errors.Join(fmt.Errorf("scrape %s: %w", t.Pod, err), out.Rollback())
		}
	}
	for pod := range p.series {
		if !seen[pod] {
			if err := p.stale(out, pod, nil); err != nil {
				return nil, errors.Join(err, out.Rollback())
			}
		}
	}
	if err := out.Commit(); err != nil {
		return nil, fmt.Errorf("store what was scraped: %w", err)
	}
	names := map[string]bool{}
	for _, g := range p.groups {
		g.Eval(ctx, p.now)
		for _, r := range g.AlertingRules() {
			if err := r.LastError(); err != nil {
				return nil, fmt.Errorf("evaluate %s: %w", r.Name(), err)
			}
			r.ForEachActiveAlert(func(a *rules.Alert) {
				if a.State == rules.StateFiring {
					names[r.Name()] = true
				}
			})
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Told is what an alert says while it fires: a summary and a description for each of its series.
func (p *Prometheus) Told(alert string) (texts []string) {
	for _, g := range p.groups {
		for _, r := range g.AlertingRules() {
			if r.Name() != alert {
				continue
			}
			r.ForEachActiveAlert(func(a *rules.Alert) {
				if a.State == rules.StateFiring {
					texts = append(texts, a.Annotations.Get("summary"), a.Annotations.Get("description"))
				}
			})
		}
	}
	return texts
}

// accept is what Prometheus asks for when it is to see native histograms.
const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.2"

func (p *Prometheus) scrape(ctx context.Context, out storage.AppenderV2, t Target) error {
	body, kind, err := fetch(ctx, t.URL, accept)
	if err != nil {
		return p.stale(out, t.Pod, nil) // it is down, which is what alerts are about
	}
	read, err := textparse.New(body, kind, labels.NewSymbolTable(), textparse.ParserOptions{KeepClassicOnClassicAndNativeHistograms: true})
	if err != nil {
		return err
	}
	series := map[string]labels.Labels{}
	for {
		entry, err := read.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries && entry != textparse.EntryHistogram {
			continue
		}
		var own labels.Labels
		read.Labels(&own)
		all := labels.NewBuilder(own).Set("namespace", namespace).Set("pod", t.Pod).Labels()
		series[all.String()] = all
		if entry == textparse.EntryHistogram {
			_, _, h, fh := read.Histogram()
			_, err = out.Append(0, all, 0, timestamp.FromTime(p.now), 0, h, fh, storage.AppendV2Options{})
		} else {
			_, _, v := read.Series()
			_, err = out.Append(0, all, 0, timestamp.FromTime(p.now), v, nil, nil, storage.AppendV2Options{})
		}
		if err != nil {
			return fmt.Errorf("store %s: %w", all, err)
		}
	}
	return p.stale(out, t.Pod, series)
}

// stale ends the series that a target had and has no more.
func (p *Prometheus) stale(out storage.AppenderV2, pod string, now map[string]labels.Labels) error {
	for name, l := range p.series[pod] {
		if _, is := now[name]; !is {
			if _, err := out.Append(0, l, 0, timestamp.FromTime(p.now), math.Float64frombits(value.StaleNaN), nil, nil, storage.AppendV2Options{}); err != nil {
				return fmt.Errorf("end %s: %w", l, err)
			}
		}
	}
	p.series[pod] = now
	return nil
}

func fetch(ctx context.Context, url, accept string) (body []byte, kind string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", http.NoBody)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", accept)
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("GET %s/metrics: %s", url, resp.Status)
	}
	body, err = io.ReadAll(resp.Body)
	return body, resp.Header.Get("Content-Type"), err
}

// Query evaluates an expression at the time of the last scrape.
func (p *Prometheus) Query(ctx context.Context, expr string) (promql.Vector, error) {
	q, err := p.engine.NewInstantQuery(ctx, p.db, nil, expr, p.now)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	v, err := result.Vector()
	return slices.Clone(v), err
}

// Names are those of all series that a target had at its last scrape.
func (p *Prometheus) Names(pod string) []string {
	names := map[string]bool{}
	for _, l := range p.series[pod] {
		names[l.Get(model.MetricNameLabel)] = true
	}
	return slices.Sorted(maps.Keys(names))
}
