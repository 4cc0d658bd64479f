package progress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
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
	deadline := time.After(await.Limit())
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
	r.Queue(client.Queue{Depth: 321, DeadLetters: 2})
	return &View{Doing: "sending", Total: 1000, Recorder: r}
}

func TestTheLineShowsTheRunAndThenTheAudit(t *testing.T) {
	t.Parallel()
	start := time.Now()
	v := running(start)
	before := v.look(start, nil)
	s := v.look(start.Add(2*time.Second), &before)
	if got, want := s.line(), "sending  50%: 500 accepted, 0/s, p50 4.00ms, p99 4.00ms, in flight 1, failed tries 1, queue 321, dead letters 2"; got != want {
		t.Errorf("%s\nshould be\n%s", got, want)
	}
	v.Audit(audit.Progress{Accepted: 1000, Completed: 700, Dead: 50, Pending: 240, Missing: 10})
	s = v.look(start.Add(4*time.Second), &s)
	if got, want := s.line(), "audit  75%: 750 of 1000 settled, missing 10, queue 321, dead letters 2"; got != want {
		t.Errorf("%s\nshould be\n%s", got, want)
	}
	v.Audit(audit.Progress{Accepted: 1000, Completed: 900, Pending: 100, Estimated: true})
	s = v.look(start.Add(6*time.Second), &s)
	if got := s.line(); !strings.HasPrefix(got, "audit  90%: about 900 of 1000 settled") || s.rate != 75 {
		t.Errorf("%s, %g/s", got, s.rate)
	}
}

// The log goes on above the line, which goes away at the end.
func TestALogLineIsWrittenAboveTheProgress(t *testing.T) {
	t.Parallel()
	out := newBuffer()
	terminal := &Terminal{Out: out}
	for _, write := range []func(){
		func() { fmt.Fprintln(terminal, "before") }, func() { terminal.draw("50%") }, func() { fmt.Fprintln(terminal, "meanwhile") },
		func() { terminal.draw("60%") }, func() { terminal.draw("") }, func() { fmt.Fprintln(terminal, "afterwards") },
	} {
		write()
	}
	shown := strings.NewReplacer(cutOff, "", fold, "", clearLine, "<").Replace(out.String())
	if want := "before\n<50%<meanwhile\n50%<60%<afterwards\n"; shown != want {
		t.Errorf("%q, want %q", shown, want)
	}
}

// tty is a buffer that takes itself for a terminal.
type tty struct{ *buffer }

func (tty) Terminal() bool { return true }

// show draws a view until the returned function is called, which waits for its end.
func show(t *testing.T, v *View, o Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Show(ctx, v, o)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestOnATerminalOneLineIsDrawnUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	out := newBuffer()
	stop := show(t, running(time.Now()), Options{Mode: "auto", Terminal: &Terminal{Out: tty{out}}})
	out.await(t, cutOff+"sending")
	stop()
	if !strings.HasSuffix(out.String(), clearLine+cutOff+fold) || strings.Contains(out.String(), "\n") {
		t.Errorf("%q", out.String())
	}
}

func TestLinesAreForProgramsToo(t *testing.T) {
	t.Parallel()
	out := newBuffer()
	v := running(time.Now())
	stop := show(t, v, Options{Mode: "auto", Every: time.Millisecond, Log: slog.New(slog.NewJSONHandler(out, nil)), Terminal: &Terminal{Out: out}})
	out.await(t, "sending")
	v.Audit(audit.Progress{Accepted: 500, Completed: 250})
	out.await(t, "audit")
	stop()
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
