package proc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell starts a script and returns the process, a channel that tells the first line and a function for all lines so far.
func shell(t *testing.T, script string) (*proc.Process, <-chan string, func() []proc.Line) {
	t.Helper()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex
	var lines []proc.Line
	first := make(chan string, 1)
	p, err := proc.Start(s, proc.Spec{
		Name: "it", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"},
		Lines: func(l proc.Line) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l)
			select {
			case first <- l.Text:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, first, func() []proc.Line {
		mu.Lock()
		defer mu.Unlock()
		return append([]proc.Line(nil), lines...)
	}
}

func await(t *testing.T, p *proc.Process) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestLinesAreCutBoundedAndNamed(t *testing.T) {
	t.Parallel()
	p, _, lines := shell(t, `echo one; echo two >&2; i=0; while [ $i -lt 400 ]; do printf '%0100d' 0; i=$((i+1)); done; printf '\nlast'; exit 3`)
	if code := await(t, p); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	got := map[string]proc.Stream{}
	longest := ""
	for _, l := range lines() {
		if l.Process != "it" {
			t.Errorf("a line of process %q", l.Process)
		}
		if len(l.Text) > len(longest) {
			longest = l.Text
		}
		got[l.Text] = l.Stream
	}
	if s, ok := got["one"]; !ok || s != proc.Stdout {
		t.Error("line one is missing or not from stdout")
	}
	if s, ok := got["two"]; !ok || s != proc.Stderr {
		t.Error("line two is missing or not from stderr")
	}
	if _, ok := got["last"]; !ok {
		t.Error("the line without an end is missing")
	}
	if len(longest) > 20_000 || !strings.HasSuffix(longest, "0…") {
		t.Errorf("a line of 40000 bytes became one of %d", len(longest))
	}
	if err := p.Failure().Error(); !strings.Contains(err, "exit code 3") || !strings.Contains(err, "last") {
		t.Errorf("the failure says %q", err)
	}
}

func TestStopLetsAProcessEndInOrder(t *testing.T) {
	t.Parallel()
	p, first, _ := shell(t, `trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done`)
	<-first
	if err := p.Stop(t.Context(), syscall.SIGTERM, 20*time.Second); err != nil {
		t.Error(err)
	}
	if p.ExitCode() != 7 {
		t.Errorf("exit code %d, want 7", p.ExitCode())
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, proc.ErrEnded) {
		t.Errorf("a signal after the end: %v", err)
	}
}

func TestStopKillsTheGroupOfWhoDoesNotListen(t *testing.T) {
	t.Parallel()
	p, first, _ := shell(t, `trap '' TERM; echo ready; sleep 600 & wait`)
	<-first
	err := p.Stop(t.Context(), syscall.SIGTERM, 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("got %v", err)
	}
	if p.ExitCode() != 128+9 {
		t.Errorf("exit code %d, want 137", p.ExitCode())
	}
	// The killed child is collected by process 1, in its own time.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(-p.PID(), 0) == nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("its child is still there")
		}
	}
}

func TestStopReachesAProcessThatStandsStill(t *testing.T) {
	t.Parallel()
	p, first, _ := shell(t, `trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	<-first
	if err := p.SignalGroup(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), syscall.SIGTERM, 20*time.Second); err != nil {
		t.Error(err)
	}
	if p.ExitCode() != 0 {
		t.Errorf("exit code %d, want 0", p.ExitCode())
	}
}

func TestAProcessGetsOnlyTheEnvironmentItIsGiven(t *testing.T) {
	t.Parallel()
	p, _, lines := shell(t, `env`)
	await(t, p)
	for _, l := range lines() {
		if name, _, _ := strings.Cut(l.Text, "="); name != "PATH" && name != "PWD" && name != "_" && name != "SHLVL" && name != "OLDPWD" {
			t.Errorf("it has %s", l.Text)
		}
	}
}
