package ops_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProbesAnswerInJSONWithTheirReason(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s, err := ops.Start(t.Context(), "127.0.0.1", 0, false, metrics.New("v1", "q", "simulate").Registry,
		func() (bool, string) { return true, "moving" },
		func() (bool, string) { return ready.Load(), "because" }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + s.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	var body struct{ Status, Detail string }
	for _, probe := range []struct {
		path   string
		ready  bool
		code   int
		status string
		detail string
	}{
		{"/livez", false, 200, "ok", "moving"},
		{"/readyz", false, 503, "unavailable", "because"},
		{"/readyz", true, 200, "ok", "because"},
	} {
		ready.Store(probe.ready)
		code, text := get(probe.path)
		if err := json.Unmarshal([]byte(text), &body); err != nil || code != probe.code || body.Status != probe.status || body.Detail != probe.detail {
			t.Errorf("%s: %d %s", probe.path, code, text)
		}
	}
	code, text := get("/metrics")
	for _, name := range []string{
		`orderflow_consumer_build_info{handler="simulate",queue="q",version="v1"} 1`,
		`orderflow_consumer_messages_processed_total 0`,
		`orderflow_consumer_lease_lost_total{operation="ack"} 0`,
		`orderflow_consumer_listener_up 0`,
		`orderflow_consumer_messages_dead_total{reason="unknown_order"} 0`,
		"process_cpu_seconds_total",
	} {
		if code != 200 || !strings.Contains(text, name) {
			t.Errorf("/metrics (%d) has no %s", code, name)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/profile", "/debug/pprof/cmdline"} {
		if code, _ := get(path); code != 404 {
			t.Errorf("%s without being switched on: %d", path, code)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestProfilerIsSwitchedOnByItself(t *testing.T) {
	t.Parallel()
	well := func() (bool, string) { return true, "" }
	s, err := ops.Start(t.Context(), "127.0.0.1", 0, true, metrics.New("v1", "q", "simulate").Registry, well, well, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get("http://" + s.Address() + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 || !strings.Contains(string(text), "goroutine profile") {
		t.Errorf("%d, %v", answer.StatusCode, err)
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	t.Parallel()
	probe := func() (bool, string) { return true, "" }
	first, err := ops.Start(t.Context(), "127.0.0.1", 0, false, metrics.New("v1", "q", "h").Registry, probe, probe, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Stop()
	address, err := netip.ParseAddrPort(first.Address())
	if err != nil {
		t.Fatal(err)
	}
	if !address.Addr().IsLoopback() {
		t.Errorf("listens on %s", address)
	}
	if second, err := ops.Start(t.Context(), "127.0.0.1", int(address.Port()), false, metrics.New("v1", "q", "h").Registry, probe, probe, slog.New(slog.DiscardHandler)); err == nil {
		second.Stop()
		t.Fatal("two listeners on one port")
	}
}
