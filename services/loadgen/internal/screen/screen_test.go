package screen

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"go.uber.org/goleak"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a bytes.Buffer for several goroutines that tells when something was written.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{}
}

func newBuffer() *buffer { return &buffer{written: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.written <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until the text is there.
func (b *buffer) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(b.String(), text) {
		select {
		case <-b.written:
		case <-deadline:
			t.Fatalf("%q does not come: %q", text, b.String())
		}
	}
}

func running(start time.Time) *View {
	r := measure.NewRecorder(start)
	for i := range 500 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		r.Begin(orders.Valid, 1, at, at)
		r.Try(measure.Try{Kind: orders.Valid, Begun: at, Ended: at.Add(4 * time.Millisecond), Waiting: at}, &client.Answer{Status: 201})
		r.End(1, at, at.Add(4*time.Millisecond), measure.Accepted, false, "")
	}
	r.Begin(orders.Valid, 1, start, start)
	r.Try(measure.Try{Kind: orders.Valid, Begun: start, Ended: start, Waiting: start, Failed: true}, &client.Answer{Status: 503})
	r.Queue(start, client.Queue{Depth: 321, InFlight: 30, Delayed: 4, DeadLetters: 2})
	return &View{Run: "run-1", API: "http://api", Total: 1000, Recorder: r, Profile: arrivals.Constant(1000, 0)}
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)

func plain(s string) string { return escapes.ReplaceAllString(s, "") }

func TestTheScreenShowsTheRunAndThenTheAudit(t *testing.T) {
	t.Parallel()
	start := time.Now()
	v := running(start)
	m := &model{view: v, width: 80, terminal: &Terminal{}}
	m.now = v.look(start, nil)
	m.before = m.now
	m.look(start.Add(2 * time.Second))
	text := plain(m.View())
	for _, want := range []string{"loadgen run-1 → http://api", "50%  500 of 1000 orders", "of 1000/s", "p50 4.0", "in flight  1", "321  in flight 30  delayed 4  dead letters 2", "1 (1 × 503)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	v.Audit(audit.Progress{Accepted: 1000, Completed: 700, Dead: 50, Pending: 240, Missing: 10})
	m.look(start.Add(4 * time.Second))
	if text = plain(m.View()); !strings.Contains(text, "75%  750 of 1000 settled  10 missing") {
		t.Errorf("%s", text)
	}
	for _, width := range []int{200, 60, 40, 20} {
		before := m.width
		if _, cmd := m.Update(tea.WindowSizeMsg{Width: width}); (cmd != nil) != (width < before) {
			t.Errorf("from %d to %d columns: the screen is cleared when it gets narrower, and only then", before, width)
		}
		if m.View() == "" {
			t.Errorf("nothing at %d columns", width)
		}
	}
	m.Update(end{})
	if m.View() != "" {
		t.Error("it stays when it is over")
	}
}

func TestTheScreenRunsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	out := newBuffer()
	terminal := &Terminal{Out: out}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	v := running(time.Now())
	go func() {
		defer close(done)
		Show(ctx, v, Options{Mode: "screen", Log: slog.New(slog.DiscardHandler), Terminal: terminal})
	}()
	out.await(t, "run-1")
	// A log line goes through the screen, above it.
	if _, err := terminal.Write([]byte("a line of the log\n")); err != nil {
		t.Fatal(err)
	}
	out.await(t, "a line of the log")
	terminal.resize(20)
	if _, err := terminal.Write([]byte("a long line of the log, to its end\n")); err != nil {
		t.Fatal(err)
	}
	out.await(t, "g, to its end")
	cancel()
	<-done
	if _, err := terminal.Write([]byte("afterwards\n")); err != nil || !strings.HasSuffix(out.String(), "afterwards\n") {
		t.Fatalf("%v: %q", err, out.String())
	}
}

func TestLinesAreForProgramsToo(t *testing.T) {
	t.Parallel()
	out := newBuffer()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	v := running(time.Now())
	go func() {
		defer close(done)
		Show(ctx, v, Options{Mode: "auto", Every: time.Millisecond, Log: slog.New(slog.NewJSONHandler(out, nil)), Terminal: &Terminal{Out: out}})
	}()
	out.await(t, "sending")
	v.Audit(audit.Progress{Accepted: 500, Completed: 250})
	out.await(t, "audit")
	cancel()
	<-done
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, text := range []string{lines[0], lines[len(lines)-1]} {
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if got["queue_depth"] != 321.0 || got["accepted"] != 500.0 {
			t.Errorf("%s", text)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("there are terminal codes in it")
	}
}

func TestOffShowsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Show(ctx, running(time.Now()), Options{Mode: "off", Terminal: &Terminal{}})
}

func TestSparkline(t *testing.T) {
	t.Parallel()
	if got := spark([]float64{0, 1, 2, 4}); got != "▁▃▅█" {
		t.Errorf("%s", got)
	}
	if got := spark([]float64{0, 0}); got != "▁▁" {
		t.Errorf("%s", got)
	}
}
