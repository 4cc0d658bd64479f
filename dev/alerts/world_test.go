package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

var (
	opened *session.Session
	build  = sync.OnceValues(func() (stack.Binaries, error) {
		s, err := session.Open()
		if err != nil {
			return nil, err
		}
		opened = s
		root, err := stack.Root()
		if err != nil {
			return nil, err
		}
		return stack.Build(context.Background(), s, root, "", stack.Services...)
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if opened != nil {
		if err := opened.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is a running Orderflow, and the Prometheus that watches it.
type world struct {
	*testing.T
	ctx        context.Context //nolint:containedctx // of the test
	chart      *Chart
	prometheus *Prometheus
	stack      *stack.Stack
	server     *postgres.Server // of its own, or nil
	api        *stack.Node
	consumers  []*stack.Node

	pods map[*stack.Node]string
	mu   sync.Mutex
	log  []string
}

// options are what a test needs.
type options struct {
	own    bool     // a Postgres of its own, which can be stopped and set
	api    []string // settings
	values []string // of the chart
}

const token = "admin-token-0123456789"

// setup starts an api on a database of its own.
func setup(t *testing.T, o options) *world {
	t.Helper()
	t.Parallel()
	binaries, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // only a hang takes that long
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, pods: map[*stack.Node]string{}}
	w.chart, err = Render(ctx, o.values...)
	w.must(err)
	w.prometheus, err = New(ctx, t.TempDir(), w.chart)
	w.must(err)
	t.Cleanup(func() {
		if err := w.prometheus.Close(); err != nil {
			t.Error(err)
		}
	})
	var database string
	if o.own {
		w.server, err = postgres.Open(ctx, postgres.Options{Session: opened, From: "local", MaxConnections: 60})
		w.must(err)
		t.Cleanup(func() {
			if err := w.server.Close(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		})
		database = w.server.URL()
	} else {
		database = testdb.New(t)
	}
	w.stack = stack.New(stack.Options{Session: opened, Binaries: binaries, DatabaseURL: database, Lines: w.line, Env: []string{
		"LOG_FORMAT=json", "LOG_LEVEL=warn",
		"REQUEST_TIMEOUT=1m", // a stall of the machine would be many refusals in a row: alerts have a clock of their own
	}})
	t.Cleanup(w.end)
	w.api, err = w.stack.StartAPI(ctx, "api", append([]string{"ADMIN_TOKEN=" + token, "MIGRATE_ON_START=" + strconv.FormatBool(o.own)}, o.api...)...)
	w.must(err)
	w.pods[w.api] = w.chart.API
	return w
}

// end kills what runs: nothing that is to be seen depends on a good end.
func (w *world) end() {
	for _, s := range []stack.Service{stack.Consumer, stack.Receiver, stack.API} {
		for _, n := range w.stack.Nodes(s) {
			n.Kill()
		}
	}
	if w.Failed() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.Logf("the services' warnings:\n%s", strings.Join(w.log[max(0, len(w.log)-30):], "\n"))
	}
}

func (w *world) line(l proc.Line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, l.Process+" | "+l.Text)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// consumer starts one, whose handlers do nothing unless the settings say otherwise.
func (w *world) consumer(settings ...string) *stack.Node {
	w.Helper()
	n, err := w.stack.StartConsumer(w.ctx, fmt.Sprintf("consumer-%d", len(w.consumers)+1), append([]string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none"}, settings...)...)
	w.must(err)
	w.watch(n)
	return n
}

func (w *world) watch(n *stack.Node) {
	w.consumers = append(w.consumers, n)
	w.pods[n] = w.chart.Consumer + strconv.Itoa(len(w.consumers))
}

// order posts so many orders at the same time, and returns how many were accepted.
func (w *world) order(n int) (accepted int) {
	return w.orderBy("Ann", n)
}

func (w *world) orderBy(customer string, n int) (accepted int) {
	var mu sync.Mutex
	var posts sync.WaitGroup
	for range n {
		posts.Go(func() {
			status, _, err := w.ask(http.MethodPost, "/orders", `{"customer_name":"`+customer+`","product_name":"Chair","quantity":1,"price":9.50}`)
			if err == nil && status == http.StatusCreated {
				mu.Lock()
				defer mu.Unlock()
				accepted++
			}
		})
	}
	posts.Wait()
	return accepted
}

// ask makes a call as the administrator.
func (w *world) ask(method, path, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(w.ctx, method, w.api.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// scrape lets time pass once and returns the alerts that fire.
func (w *world) scrape() []string {
	w.Helper()
	targets := make([]Target, 0, len(w.pods))
	for n, pod := range w.pods {
		targets = append(targets, Target{n.MetricsURL(), pod})
	}
	firing, err := w.prometheus.Scrape(w.ctx, targets...)
	w.must(err)
	return firing
}

const (
	// long is more than any alert takes, and any of their windows: an hour.
	long = 240
	// more is how long the world is watched after an alert: ten minutes, in which no other one may come.
	more = 40
)

// quiet lets a quarter of an hour pass in which no alert fires. each happens before each scrape.
func (w *world) quiet(each func()) {
	w.Helper()
	for range 60 {
		each()
		if firing := w.scrape(); len(firing) > 0 {
			w.Fatalf("%v fire without a reason", firing)
		}
	}
}

// raises wants that one alert, and no other, fires some time, and keeps firing; and as soon as it is
// expected to.
func (w *world) raises(alert string, each func()) {
	w.Helper()
	fired := 0
	for n := range long + more {
		each()
		firing := w.scrape()
		if !slices.Equal(firing, []string{alert}) && len(firing) > 0 {
			w.Fatalf("%v fire, want %s alone", firing, alert)
		}
		switch {
		case len(firing) == 1 && fired == 0:
			took := time.Duration(n+1) * w.chart.Interval
			if want := alerts[alert]; took < want.least || took > want.most {
				w.Errorf("%s fires after %s, want %s to %s", alert, took, want.least, want.most)
			}
			w.speaks(alert)
			fallthrough
		case len(firing) == 1:
			if fired++; fired > more {
				return
			}
		case fired > 0:
			w.Fatalf("%s fires no more though nothing is mended", alert)
		case n == long:
			w.Fatalf("%s does not fire", alert)
		}
	}
}

// resolves wants that the alert ends, and no other comes.
func (w *world) resolves(alert string, each func()) {
	w.Helper()
	for range long {
		each()
		firing := w.scrape()
		if len(firing) == 0 {
			w.quiet(each)
			return
		}
		if !slices.Equal(firing, []string{alert}) {
			w.Fatalf("%v fire, want %s alone, or nothing", firing, alert)
		}
	}
	w.Fatalf("%s fires though all is mended", alert)
}

func nothing() {}

// tells waits until a node's metric satisfies a condition.
func (w *world) tells(n *stack.Node, metric string, holds func(float64) bool) {
	w.Helper()
	var last float64
	w.until(metric, func() error {
		m, err := n.Metrics(w.ctx)
		if last = m[metric]; err == nil && !holds(last) {
			err = fmt.Errorf("it is %v", last)
		}
		return err
	})
}

func is(want float64) func(float64) bool { return func(got float64) bool { return got == want } }

func below(bound float64) func(float64) bool { return func(got float64) bool { return got < bound } }

func above(bound float64) func(float64) bool { return func(got float64) bool { return got > bound } }

// until waits for a condition; only a hang takes its time.
func (w *world) until(what string, holds func() error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.Fatalf("waited in vain for: %s: %v", what, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// pause stops the queue, until resume.
func (w *world) pause() {
	w.Helper()
	if status, answer, err := w.ask(http.MethodPost, "/queue/pause", `{"reason":"the warehouse moves"}`); err != nil || status != http.StatusOK {
		w.Fatalf("pause: %d %s, %v", status, answer, err)
	}
	w.tells(w.consumers[0], "orderflow_consumer_paused", is(1))
}

func (w *world) resume() {
	w.Helper()
	if status, answer, err := w.ask(http.MethodPost, "/queue/resume", ""); err != nil || status != http.StatusOK {
		w.Fatalf("resume: %d %s, %v", status, answer, err)
	}
	w.tells(w.consumers[0], "orderflow_consumer_paused", is(0))
}

// drained waits until nothing is left to be done. What the api saw of the queue before does not count: that may be without the last orders.
func (w *world) drained() {
	w.Helper()
	begun := time.Now()
	w.until("the queue is empty", func() error {
		q, err := w.api.Queue(w.ctx)
		if err == nil && (q.Depth != 0 || !q.AsOf.After(begun)) {
			err = fmt.Errorf("%d messages at %s", q.Depth, q.AsOf)
		}
		return err
	})
}

// sql runs statements on the world's database.
func (w *world) sql(statements ...string) {
	w.Helper()
	conn := testdb.Connect(w.T, w.stack.DatabaseURL())
	for _, s := range statements {
		if _, err := conn.Exec(w.ctx, s); err != nil {
			w.Fatalf("%s: %v", s, err)
		}
	}
	w.must(conn.Close(w.ctx)) // not at the end of the test: some ask again and again
}

// ready waits until all that run are.
func (w *world) ready() {
	w.Helper()
	for n := range w.pods {
		w.until(n.Name+" is ready", func() error { return n.Ready(w.ctx) })
	}
}

// replace puts a new consumer in the place of all others.
func (w *world) replace() {
	w.Helper()
	for _, n := range w.consumers {
		n.Kill()
		delete(w.pods, n)
	}
	w.consumer()
}

// program builds a consumer with a handler of its own, as a package of the consumer's module. Its source is no Go file here: nothing in
// dev is built with a service.
func (w *world) program(source string) stack.Binaries {
	w.Helper()
	root, err := stack.Root()
	w.must(err)
	file, err := filepath.Abs(source)
	w.must(err)
	dir := w.TempDir()
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "consumer")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "services/consumer/own/main.go"): file}})
	w.must(errors.Join(err, os.WriteFile(overlay, list, 0o600)))
	build := exec.CommandContext(w.ctx, "go", "build", "-trimpath", "-overlay", overlay, "-o", binary, "./own") //nolint:gosec // our own
	build.Dir, build.Env = filepath.Join(root, "services/consumer"), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		w.Fatalf("build the consumer: %v\n%s", err, out)
	}
	return stack.Binaries{stack.Consumer: binary}
}

// launch starts a consumer of a program of its own.
func (w *world) launch(program stack.Binaries, settings ...string) *stack.Node {
	w.Helper()
	own := stack.New(stack.Options{Session: opened, Binaries: program, DatabaseURL: w.stack.DatabaseURL(), Env: []string{"LOG_LEVEL=warn"}, Lines: w.line})
	n, err := own.StartConsumer(w.ctx, "own", settings...)
	w.must(err)
	w.Cleanup(n.Kill)
	w.watch(n)
	return n
}

var errNotYet = errors.New("not yet")

// run runs a command of the api.
func (w *world) run(args ...string) {
	w.Helper()
	binaries, err := build()
	w.must(err)
	command := exec.CommandContext(w.ctx, binaries[stack.API], args...) //nolint:gosec // our own program
	command.Env = append(os.Environ(), "DATABASE_URL="+w.stack.DatabaseURL())
	if out, err := command.CombinedOutput(); err != nil {
		w.Fatalf("api %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
