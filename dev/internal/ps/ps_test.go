package ps

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestAChildIsListedUntilItHasEnded(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sleep", "600.25")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := Children(os.Getpid())
	if err != nil || !slices.Contains(children, cmd.Process.Pid) {
		t.Errorf("children %v, %v: %d is not among them", children, err, cmd.Process.Pid)
	}
	running, err := Running(cmd.Process.Pid)
	if err != nil || len(running) != 1 || !strings.HasSuffix(running[0].Command, "sleep 600.25") || running[0].Parent != os.Getpid() {
		t.Errorf("running: %+v, %v", running, err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := WaitStopped(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if running, err := Running(cmd.Process.Pid); err != nil || len(running) != 1 || running[0].State != 'T' {
		t.Errorf("stopped: %+v, %v", running, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: it is a zombie, and as such gone.
	if err := WaitGone([]int{cmd.Process.Pid}); err != nil {
		t.Error(err)
	}
	if err := WaitStopped(cmd.Process.Pid); err != nil {
		t.Errorf("it has ended: %v", err)
	}
	_ = cmd.Wait() // killed, as intended
}

func TestNamesAreReadWhateverTheyHold(t *testing.T) {
	t.Parallel()
	if p, ok := parseStat([]byte("15 (a) Z (b) S 1 15 15 0")); !ok || p.PID != 15 || p.Parent != 1 || p.State != 'S' {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, broken := range []string{"", "15", "15 (a", "15 (a) S", "x (a) S 1"} {
		if p, ok := parseStat([]byte(broken)); ok {
			t.Errorf("%q: %+v", broken, p)
		}
	}
}
