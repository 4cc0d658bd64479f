package ops_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/listen"
	"orderflow.example/kit/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func start(t *testing.T, o ops.Options) *ops.Server {
	t.Helper()
	o.Host = "127.0.0.1"
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	if o.Alive == nil {
		o.Alive = ops.Fine
	}
	if o.Ready == nil {
		o.Ready = ops.Fine
	}
	s, err := ops.Start(t.Context(), o, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// client has connections of its own for each test, and keeps none.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func get(t *testing.T, s *ops.Server, path string) (status int, body string) {
	t.Helper()
	answer, err := client.Get("http://" + s.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kept := answer.Header.Get("Cache-Control"); strings.HasSuffix(path, "z") && kept != "no-store" {
		t.Errorf("%s: a cache between may keep the answer: Cache-Control is %q", path, kept)
	}
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(read)
}

func TestProbesAnswerInJSONWithTheirReason(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := start(t, ops.Options{
		Alive: func() (bool, any) { return true, "moving" },
		Ready: func() (bool, any) { return ready.Load(), "because" },
	})
	for _, test := range []struct {
		path         string
		ready        bool
		status       int
		word, detail string
	}{
		{"/livez", false, http.StatusOK, "ok", "moving"},
		{"/readyz", false, http.StatusServiceUnavailable, "unavailable", "because"},
		{"/readyz", true, http.StatusOK, "ok", "because"},
	} {
		ready.Store(test.ready)
		var body struct{ Status, Detail string }
		status, text := get(t, s, test.path)
		if err := json.Unmarshal([]byte(text), &body); err != nil || status != test.status || body.Status != test.word || body.Detail != test.detail {
			t.Errorf("%s: %d %s", test.path, status, text)
		}
	}
}

func TestDetailsAreTheAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, ops.Options{Ready: func() (bool, any) { return false, struct{ Depth int }{7} }})
	if status, text := get(t, s, "/readyz"); status != http.StatusServiceUnavailable || strings.TrimSpace(text) != `{"Depth":7}` {
		t.Errorf("%d %s", status, text)
	}
	if status, text := get(t, s, "/livez"); status != http.StatusOK || strings.TrimSpace(text) != `{"status":"ok"}` {
		t.Errorf("%d %s", status, text)
	}
}

func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "depth", Help: "How deep."})
	gauge.Set(7)
	registry.MustRegister(gauge)
	if status, text := get(t, start(t, ops.Options{Gatherer: registry}), "/metrics"); status != http.StatusOK || !strings.Contains(text, "\ndepth 7\n") {
		t.Errorf("%d %s", status, text)
	}
}

// sick is a collector that fails.
type sick struct{}

func (sick) Describe(chan<- *prometheus.Desc) {}

func (sick) Collect(c chan<- prometheus.Metric) {
	c <- prometheus.NewInvalidMetric(prometheus.NewDesc("sick", "", nil, nil), errors.New("it has nothing to say"))
}

// One metric that cannot be told does not take the others with it: whoever watches would be blind just when something is wrong.
func TestAMetricThatFailsHidesNoOther(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	well := prometheus.NewGauge(prometheus.GaugeOpts{Name: "depth", Help: "How deep."})
	well.Set(7)
	registry.MustRegister(well, sick{})
	if status, text := get(t, start(t, ops.Options{Gatherer: registry}), "/metrics"); status != http.StatusOK || !strings.Contains(text, "\ndepth 7\n") {
		t.Errorf("%d %s", status, text)
	}
}

func TestTheProfilerHasASwitch(t *testing.T) {
	t.Parallel()
	for on, want := range map[bool]int{true: http.StatusOK, false: http.StatusNotFound} {
		if status, _ := get(t, start(t, ops.Options{Profiler: on}), "/debug/pprof/goroutine?debug=1"); status != want {
			t.Errorf("profiler %v: %d", on, status)
		}
	}
}

// Somebody's profile or account must not keep a program from ending.
func TestStoppingWaitsForNobody(t *testing.T) {
	t.Parallel()
	asked, left := make(chan struct{}), make(chan struct{})
	s := start(t, ops.Options{Handlers: map[string]http.Handler{"GET /slow": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(left)
	})}})
	answered := make(chan error, 1)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/slow", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		answer, err := client.Do(request)
		if err == nil {
			err = answer.Body.Close()
		}
		answered <- err
	}()
	<-asked
	stopped := make(chan struct{})
	go func() {
		s.Stop()
		close(stopped)
	}()
	for what, done := range map[string]chan struct{}{"stopping": stopped, "the handler": left} {
		select {
		case <-done:
		case <-time.After(await.Limit()):
			t.Fatalf("%s waits for who has asked", what)
		}
	}
	if err := <-answered; err != nil {
		t.Logf("the request that waited: %v", err) // as it may
	}
}

// A crowd that connects and says nothing makes room for probes by itself, and not at the cost of who is being answered.
func TestWhoIsBeingAnsweredStays(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s := start(t, ops.Options{Handlers: map[string]http.Handler{"GET /slow": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, "done")
	})}})
	type outcome struct {
		text string
		err  error
	}
	answered := make(chan outcome, 1)
	go func() {
		answer, err := client.Get("http://" + s.Address() + "/slow")
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		answered <- outcome{string(text), err}
	}()
	<-asked
	for range 2 * listen.SecondPort {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if status, text := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	close(release)
	if got := await.Value(t, "the answer", answered); got.err != nil || got.text != "done" {
		t.Errorf("%q, %v", got.text, got.err)
	}
}

// Who connects, begins a head and says no more does not stay. It takes as long as the deadline, which nobody waits for meanwhile.
func TestAHeadHasADeadline(t *testing.T) {
	t.Parallel()
	s := start(t, ops.Options{})
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(await.Limit())); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil {
		t.Errorf("a head without an end keeps its connection: %q, %v", answer, err)
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	t.Parallel()
	first := start(t, ops.Options{})
	_, port, err := net.SplitHostPort(first.Address())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := ops.Start(t.Context(), ops.Options{Host: "127.0.0.1", Port: number, Gatherer: prometheus.NewRegistry(), Alive: ops.Fine, Ready: ops.Fine}, quiet); err == nil {
		second.Stop()
		t.Fatal("two listen on one port")
	}
}
