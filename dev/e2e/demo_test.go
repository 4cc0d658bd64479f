package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"orderflow.example/dev/internal/ps"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// demo is a running `dev demo` that is not on a terminal.
type demo struct {
	cmd  *exec.Cmd
	tmp  string
	done chan error

	mu  sync.Mutex
	out []string
}

// startDemo starts the demo with a directory of its own for everything temporary, so that what it leaves can be seen.
func startDemo(t *testing.T, env ...string) *demo {
	t.Helper()
	b := programsFor(t)
	d := &demo{tmp: t.TempDir(), done: make(chan error, 1)}
	for dir := d.tmp; dir != filepath.Dir(dir) && strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.cmd = exec.Command(b.dev, "demo") // ended by the test
	d.cmd.Dir = b.root
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name != "DATABASE_URL" && name != "TMPDIR" {
			d.cmd.Env = append(d.cmd.Env, kv)
		}
	}
	// Which orders fail goes by the ids of their messages, and a request whose time is over would leave a gap in these.
	d.cmd.Env = append(d.cmd.Env, "TMPDIR="+d.tmp, "POSTGRES_FROM=local", "ORDERS=30", "BACKOFF_BASE=100ms", "REQUEST_TIMEOUT=1m")
	d.cmd.Env = append(d.cmd.Env, env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr")) // a file can be read while the demo still writes to it
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = stderr
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			d.mu.Lock()
			d.out = append(d.out, lines.Text())
			d.mu.Unlock()
		}
		d.done <- d.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it has ended long ago, unless the test has failed
		_ = stderr.Close()
		if t.Failed() {
			said, err := os.ReadFile(stderr.Name())
			t.Logf("the demo said:\n%s\n%s%v", strings.Join(d.lines(), "\n"), said, err)
		}
	})
	return d
}

// prebuilt saves a demo the build. One of the demos goes without, as people have it.
func prebuilt(t *testing.T) string {
	t.Helper()
	return "BINARIES=" + filepath.Dir(programsFor(t).binaries[stack.API])
}

func (d *demo) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.out...)
}

func (d *demo) has(part string) bool {
	for _, line := range d.lines() {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func (d *demo) wait(t *testing.T) int {
	t.Helper()
	select {
	case err := <-d.done:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	case <-bounded(t).Done():
		t.Fatal("the demo does not end")
		return -1
	}
}

// nothingLeft waits until neither a directory nor a process of the demo is there. A process of it has the directory in its command.
func (d *demo) nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is left", func() error {
		left, err := filepath.Glob(filepath.Join(d.tmp, "*"))
		if err != nil || len(left) > 0 {
			return fmt.Errorf("left: %v, %w", left, err)
		}
		list, err := ps.List()
		if err != nil {
			return err
		}
		for _, p := range list {
			if strings.Contains(p.Command, d.tmp) && p.State != 'Z' {
				return fmt.Errorf("still running: %d %s", p.PID, p.Command)
			}
		}
		return nil
	})
}

func TestDemosAtTheSameTime(t *testing.T) {
	t.Parallel()
	private := startDemo(t, "SIMULATE_WORK=100ms", "CONSUMERS=2")
	given := startDemo(t, "SIMULATE_WORK=100ms", "DATABASE_URL="+testdb.New(t), prebuilt(t))
	for _, d := range []*demo{private, given} {
		if code := d.wait(t); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		lines := d.lines()
		if last, want := lines[len(lines)-1], "audit: accepted=30 completed=30 dead=0 lost=0 duplicated=0"; last != want {
			t.Errorf("the last line is %q, want %q", last, want)
		}
		for _, want := range []string{
			"api        | ", "consumer-1 | ", "loadgen    | ", "fail at first try", "fail at second try",
			"15 failed at least once and 5 of these twice",
		} {
			if !d.has(want) {
				t.Errorf("no line has %q", want)
			}
		}
		d.nothingLeft(t)
	}
}

func TestADemoThatIsEndedLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t, "SIMULATE_WORK=2s", prebuilt(t))
			eventually(t, "it is under way", func() error {
				if !d.has("POST /orders 201") {
					return errors.New("no order yet")
				}
				return context.Cause(t.Context())
			})
			begun := time.Now()
			if err := d.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			code := d.wait(t)
			if sig != syscall.SIGKILL && code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			d.nothingLeft(t)
			t.Logf("gone after %v", time.Since(begun).Round(time.Millisecond))
		})
	}
}
