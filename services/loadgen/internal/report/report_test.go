package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
	"orderflow.example/services/loadgen/internal/report"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// faulty is the summary of a run in which everything went wrong at least once.
func faulty(t *testing.T) *report.Summary {
	t.Helper()
	start := time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)
	r := measure.NewRecorder(start)
	e2e := measure.NewHistogram()
	for i := range 1000 {
		due := start.Add(time.Duration(i) * 10 * time.Millisecond)
		took := time.Duration(1+i%50) * time.Millisecond
		r.Due()
		r.Begin(orders.Valid, 1, due, due)
		r.Try(measure.Try{Kind: orders.Valid, Begun: due, Ended: due.Add(took), Waiting: due}, &client.Answer{Status: 201})
		r.End(1, due, due.Add(took), measure.Accepted, i%100 == 0, "reset")
		e2e.Record(took * 20)
		if i%100 == 0 {
			r.Queue(client.Queue{Depth: i / 10})
		}
	}
	var conditions thresholds.List
	if err := conditions.Decode("post_p99<5ms,lost==0,e2e_p99<10s,error_rate<1%,post_p99.99<1s,drain<1m,service_avg<1s"); err != nil {
		t.Fatal(err)
	}
	s := &report.Summary{
		Schema: 1, Version: "test", Command: "run", RunID: "r<script>1", API: "http://localhost:8000", Started: start, Ended: start.Add(time.Minute), Settings: map[string]string{"RATE": "100"},
		Faults: []string{},
	}
	s.SetLoad(&report.Load{
		Model: "open", Shape: "100 orders/s, constant arrivals", Seconds: 10, Intended: 100, Achieved: 99.9, Kept: 0.999, Bulk: 1, Totals: r.Snapshot(start).Totals,
		Stalls: []report.StallSeconds{{At: 2, For: 1.5}},
	}, r.Post(), r.Service())
	account := &audit.Result{
		Figures: audit.Figures{Accepted: 1000, Completed: 900, Dead: 20, Lost: 50, Stuck: 30, Duplicated: 7, Unknown: audit.Unknown{Orders: 3, Missing: 2, Completed: 1}},
		E2E:     e2e,
		Drain:   3 * time.Second, HasDrain: true, Notes: []string{"a note"},
	}
	for i := range 200 {
		account.Examples = append(account.Examples, audit.Example{Fault: "lost", N: i, Key: (orders.Keys{Run: "r<script>1"}).String(i, 10), ID: int64(i), SentAt: start, LastError: "<b>boom</b>", Status: "pending"})
	}
	s.SetAudit(account)
	s.Judge(conditions)
	return s
}

func TestTextEndsWithTheAuditsLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := faulty(t)
	s.Text(&out)
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if got := lines[len(lines)-1]; got != "audit: accepted=1000 completed=900 dead=20 lost=50 duplicated=7" {
		t.Fatalf("last line: %s", got)
	}
	for _, want := range []string{
		"100/s intended", "1.50s at 2.0s", "✗ post_p99<5ms (50.0ms)", "✓ e2e_p99<10s", "FAULT        30 orders stuck", "3 never answered: 2 not found", "a note", "FAULT        50 orders lost", "10 × reset",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestJudgeNamesEveryFault(t *testing.T) {
	t.Parallel()
	s := faulty(t)
	want := []string{"50 orders lost", "7 orders duplicated", "30 orders stuck", "20 orders dead", "threshold post_p99<5ms", "threshold lost==0"}
	if len(s.Faults) != len(want) {
		t.Fatalf("%q", s.Faults)
	}
	for i, w := range want {
		if !strings.HasPrefix(s.Faults[i], w) {
			t.Errorf("%q does not begin with %q", s.Faults[i], w)
		}
	}
}

func TestJSONHoldsTheNumbers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.json")
	if err := faulty(t).WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema int `json:"schema"`
		Audit  struct {
			Accepted, Lost int
			Examples       []struct{ Key string }
		} `json:"audit"`
		Load struct {
			Post struct{ Count int64 }
		} `json:"load"`
		E2E struct {
			P99 float64 `json:"p99_ms"`
		} `json:"e2e"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || got.Audit.Accepted != 1000 || got.Audit.Lost != 50 || len(got.Audit.Examples) != 200 || got.Load.Post.Count != 1000 ||
		got.E2E.P99 < 990 || got.E2E.P99 > 1010 {
		t.Fatalf("%+v", got)
	}
	if err := faulty(t).WriteJSON(filepath.Join(t.TempDir(), "no", "such", "folder.json")); err == nil {
		t.Fatal("a folder that is not there was written to")
	}
}

// The termination message is the report without what is long: programs read the same fields of both.
func TestTheTerminationMessageIsTheReportThatFits(t *testing.T) {
	t.Parallel()
	s := faulty(t)
	for range 2 { // also of a run with more faults than there is room for
		text := s.Termination()
		var got struct {
			RunID    string   `json:"run_id"`
			ExitCode int      `json:"exit_code"`
			Faults   []string `json:"faults"`
			Audit    audit.Figures
		}
		if err := json.Unmarshal(text, &got); err != nil || len(text) > 4096 || got.Audit != s.Audit.Figures || got.RunID != s.RunID || got.ExitCode != s.ExitCode ||
			len(got.Faults) == 0 || got.Faults[0] != s.Faults[0] || bytes.Count(text, []byte("\n")) != 1 {
			t.Fatalf("%v: %d bytes: %s", err, len(text), text)
		}
		for range 100 {
			s.Faults = append(s.Faults, strings.Repeat("a fault ", 20))
		}
	}
	if len(s.Audit.Examples) != 200 {
		t.Fatal("the report itself was shortened")
	}
	path := filepath.Join(t.TempDir(), "termination-log")
	if err := s.WriteTermination(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal("a file was made that nobody reads")
	}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTermination(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, s.Termination()) {
		t.Fatalf("%v: %s", err, got)
	}
}

func TestACapacitySearchNamesWhatFailed(t *testing.T) {
	t.Parallel()
	s := &report.Summary{Capacity: &report.Capacity{Best: 100, Conditions: "post_p99<5ms", Steps: []report.Step{
		{Rate: 100, OK: true, Thresholds: []thresholds.Result{{Condition: "post_p99<5ms", Actual: "4ms", OK: true}}},
		{Rate: 200, Thresholds: []thresholds.Result{{Condition: "post_p99<5ms", Actual: "9ms"}}},
	}}}
	var out bytes.Buffer
	s.Text(&out)
	if !strings.Contains(out.String(), "failed: post_p99<5ms (9ms)") || strings.Contains(out.String(), "<5ms (4ms)") || !strings.Contains(out.String(), "–") {
		t.Errorf("%s", out.String())
	}
}
