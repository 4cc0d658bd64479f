package session

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"orderflow.example/dev/internal/ps"
)

func TestCloseRemovesTheDirectoryAndWhatIsStillRegistered(t *testing.T) {
	t.Parallel()
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	left := startGroup(t)
	s.TrackPID(Group, left.Process.Pid)
	released := startGroup(t)
	s.TrackPID(Group, released.Process.Pid)
	s.UntrackPID(Group, released.Process.Pid)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("the run's directory is still there: %v", err)
	}
	if sig := endedBy(t, left); sig != syscall.SIGKILL {
		t.Errorf("what was registered ended by %v, want SIGKILL", sig)
	}
	if err := released.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("what was no longer registered is gone: %v", err)
	}
	if sig := endedBy(t, released); sig != syscall.SIGTERM {
		t.Errorf("what was no longer registered ended by %v", sig)
	}
}

// The dev command itself is killed: nothing of Go runs any more.
func TestAKilledOwnerLeavesNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv("SESSION_TEST_OWNER") != "" {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	owner := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelperOwner$", "-test.v")
	owner.Env = append(os.Environ(), "SESSION_TEST_OWNER=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	var pid int
	buf := make([]byte, 4096)
	text := ""
	for pid == 0 {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("the owner ended early: %v\n%s", err, text)
		}
		text += string(buf[:n])
		for line := range strings.Lines(text) {
			fields := strings.Fields(line)
			if len(fields) == 3 && fields[0] == "OWNS" && strings.HasSuffix(line, "\n") {
				dir = fields[1]
				pid, _ = strconv.Atoi(fields[2])
			}
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the owner has no directory: %v", err)
	}
	_ = owner.Process.Kill()
	if sig := endedBy(t, owner); sig != syscall.SIGKILL {
		t.Fatalf("the owner ended by %v, and was to be killed", sig)
	}

	for ctx.Err() == nil {
		_, statErr := os.Stat(dir)
		if os.IsNotExist(statErr) && !running(t, pid) {
			return
		}
		wait(ctx, 20*time.Millisecond)
	}
	t.Fatalf("10 s after its owner was killed: directory %s or process %d is still there", dir, pid)
}

// TestHelperOwner is the process that TestAKilledOwnerLeavesNothing kills; without that it does nothing.
func TestHelperOwner(t *testing.T) {
	if os.Getenv("SESSION_TEST_OWNER") == "" {
		return
	}
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	// A session that nothing refers to any more is collected, and its pipe closed, which the reaper takes for the owner's end.
	defer func() { _ = s.Close() }()
	child := startGroup(t)
	s.TrackPID(Group, child.Process.Pid)
	_, _ = os.Stdout.WriteString("\nOWNS " + s.Dir() + " " + strconv.Itoa(child.Process.Pid) + "\n")
	// Not just blocked: Go ends a program in which every goroutine waits for another, and then nobody has been killed.
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	<-asked
}

func TestRootAvoidsDirectoriesThatOthersCannotReach(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := baseDir(closed, 0); err != nil || got == closed {
		t.Errorf("as root: %q, %v; want another directory", got, err)
	}
	if got, err := baseDir(closed, 1000); err != nil || got != closed {
		t.Errorf("as an ordinary user: %q, %v; want %q", got, err, closed)
	}
}

func startGroup(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "exec sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func endedBy(t *testing.T, cmd *exec.Cmd) syscall.Signal {
	t.Helper()
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0
	}
	return status.Signal()
}

func running(t *testing.T, pid int) bool {
	t.Helper()
	list, err := ps.Running(pid)
	if err != nil {
		t.Fatal(err)
	}
	return len(list) > 0
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
