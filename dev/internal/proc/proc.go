// Package proc runs the programs of the local stack: each in a process group of its own, registered with the session from its start
// to its end, its output cut into lines of bounded length. It knows nothing about what the programs do, and signals only what it
// started itself.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"orderflow.example/dev/internal/session"
)

// Spec describes a process to start.
type Spec struct {
	Name string // for lines and messages
	Path string
	Args []string
	Env  []string // the whole environment, nothing is inherited
	Dir  string
	// User is who the process runs as; nil for the user that we are.
	User *syscall.Credential
	// Kind is how the session ends it when we cannot: session.Group unless set.
	Kind session.Kind
	// Lines is called for each line of output, one at a time. It must not block for long: the process would block with it.
	Lines func(Line)
}

// Process is a started process. Its methods can be called from several goroutines.
type Process struct {
	name string
	pid  int
	cmd  *exec.Cmd
	done chan struct{}
	tail tail

	mu      sync.Mutex
	stopped bool // by SIGSTOP
}

// Start starts a process. It is waited for in the background; Done tells when it has ended and all of its lines are delivered.
func Start(s *session.Session, spec Spec) (*Process, error) {
	if spec.Kind == "" {
		spec.Kind = session.Group
	}
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // ended by Stop and Kill, which choose their signals
	cmd.Env = spec.Env
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Dir = spec.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: spec.User}
	// A grandchild that keeps our pipe open must not keep us waiting.
	cmd.WaitDelay = 2 * time.Second

	p := &Process{name: spec.Name, cmd: cmd, done: make(chan struct{})}
	var mu sync.Mutex
	lines := func(stream Stream) *lineWriter {
		return &lineWriter{emit: func(text string) {
			mu.Lock()
			defer mu.Unlock()
			p.tail.add(text)
			if spec.Lines != nil {
				spec.Lines(Line{Process: spec.Name, Stream: stream, Text: text})
			}
		}}
	}
	stdout, stderr := lines(Stdout), lines(Stderr)
	cmd.Stdout, cmd.Stderr = stdout, stderr

	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p.pid = cmd.Process.Pid
	s.TrackPID(spec.Kind, p.pid)
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the exit code is in cmd.ProcessState; WaitDelay's complaint about a pipe is of no interest
		s.UntrackPID(spec.Kind, p.pid)
		stdout.close()
		stderr.close()
	}()
	return p, nil
}

// Name is the name given in the Spec.
func (p *Process) Name() string { return p.name }

// PID is the process id, and the id of its process group.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is the exit code as a shell would give it: 128 + n after signal n; -1 as long as the process runs.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	state := p.cmd.ProcessState
	if state == nil {
		return -1
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Tail returns the last lines of its output.
func (p *Process) Tail() []string { return p.tail.get() }

// ErrEnded is returned for a signal to a process that has ended.
var ErrEnded = errors.New("the process has ended")

// Signal sends a signal to the process alone, not to its group.
func (p *Process) Signal(sig syscall.Signal) error { return p.kill(p.pid, sig) }

// SignalGroup sends a signal to the process and to all that it started.
func (p *Process) SignalGroup(sig syscall.Signal) error { return p.kill(-p.pid, sig) }

func (p *Process) kill(pid int, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// os.Process knows whether the process has been waited for. After that its number may be another's.
	if errors.Is(p.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return ErrEnded
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	p.stopped = sig == syscall.SIGSTOP || p.stopped && sig != syscall.SIGCONT
	return nil
}

// Stop sends the signal and waits for the end. When grace is over or the context is cancelled the whole group is killed, and the
// error says so.
func (p *Process) Stop(ctx context.Context, sig syscall.Signal, grace time.Duration) error {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if err := p.Signal(sig); err != nil {
		if errors.Is(err, ErrEnded) {
			<-p.done
			return nil
		}
		return err
	}
	if stopped { // a process that stands still cannot hear
		_ = p.SignalGroup(syscall.SIGCONT)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %v of %v and was killed", p.name, grace, sig)
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s was killed: %w", p.name, context.Cause(ctx))
	}
}

// Kill kills the process and all that it started, and waits for the end.
func (p *Process) Kill() {
	_ = p.SignalGroup(syscall.SIGKILL) // what has ended needs no killing
	<-p.done
}

// Wait waits for the end and returns the exit code; with the context's error when that comes first.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.ExitCode(), nil
	case <-ctx.Done():
		return -1, context.Cause(ctx)
	}
}

// Failure describes how a process ended, with its last lines.
func (p *Process) Failure() error {
	text := fmt.Sprintf("%s ended with exit code %d", p.name, p.ExitCode())
	if p.Running() {
		text = fmt.Sprintf("%s is running", p.name)
	}
	if lines := p.Tail(); len(lines) > 0 {
		text += ":\n    " + strings.Join(lines, "\n    ")
	}
	return errors.New(text)
}

// Environ returns our own environment with the variables given as NAME=value instead of ours.
func Environ(with ...string) []string {
	drop := map[string]bool{}
	for _, kv := range with {
		name, _, _ := strings.Cut(kv, "=")
		drop[name] = true
	}
	var env []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !drop[name] {
			env = append(env, kv)
		}
	}
	return append(env, with...)
}
