// Package session owns what one run of the dev command leaves on the machine: one directory, and the processes and containers that
// were started from it. All of it is gone when the session closes, and also when the dev command itself is killed or panics: a
// small shell process (the reaper) waits for the other end of a pipe to close, which the kernel does for a process however it ends.
//
// It must never touch anything that was not registered with it: no search by name, by port or by pattern.
package session

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Kind says how a registered thing is ended when the dev command could not end it itself.
type Kind string

const (
	// Group is a process group, by its leader's process id: killed.
	Group Kind = "group"
	// Server is a postmaster: told to quit at once, so that it takes its children and its shared memory along.
	Server Kind = "server"
	// Stopped is a process that was sent SIGSTOP: it has to go on before it can end.
	Stopped Kind = "stopped"
	// Container is a container of the Docker engine, by name: removed with its volumes.
	Container Kind = "container"
)

// reaper reads one change per line ("+ group 123", "- group 123") until the dev command closes the pipe or is gone, and then ends
// what is still registered. POSIX sh, so that it needs nothing on any machine; in a session of its own, so that neither Ctrl-C nor
// a closed terminal reaches it.
const reaper = `
trap '' HUP INT TERM
dir=$1
without() { kept=; for x in $2; do [ "$x" = "$1" ] || kept="$kept $x"; done; }
while read -r sign kind id; do
  case "$sign$kind" in
    +group) groups="$groups $id" ;;
    -group) without "$id" "$groups"; groups=$kept ;;
    +server) servers="$servers $id" ;;
    -server) without "$id" "$servers"; servers=$kept ;;
    +stopped) stopped="$stopped $id" ;;
    -stopped) without "$id" "$stopped"; stopped=$kept ;;
    +container) containers="$containers $id" ;;
    -container) without "$id" "$containers"; containers=$kept ;;
  esac
done
for id in $stopped; do kill -CONT "$id"; done
for id in $groups; do kill -KILL "-$id"; done
for id in $servers; do kill -QUIT "$id"; done
for id in $servers; do
  n=0
  while kill -0 "$id" && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
  kill -KILL "$id"
done
for id in $containers; do docker rm --force --volumes "$id"; done
rm -rf -- "$dir"
`

// Session is one run's directory and register. Its methods can be called from several goroutines.
type Session struct {
	dir string

	mu     sync.Mutex
	pipe   io.WriteCloser
	cmd    *exec.Cmd
	closed bool
}

// Open makes the directory and starts the reaper. When the dev command runs as root, the directory is in a place that an
// unprivileged user can reach, because Postgres will run as one.
func Open() (*Session, error) {
	base, err := baseDir(os.TempDir(), os.Geteuid())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base, "orderflow-dev-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for this run: %w", err)
	}
	// Others may pass through to what is theirs (Postgres's data), but not look around.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(fmt.Errorf("open up the run's directory: %w", err), os.RemoveAll(dir))
	}

	cmd := exec.Command("/bin/sh", "-c", reaper, "orderflow-dev-reaper", dir) //nolint:noctx // it has to outlive every context
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the reaper: %w", err), os.RemoveAll(dir))
	}
	return &Session{dir: dir, pipe: pipe, cmd: cmd}, nil
}

// Dir is the run's directory.
func (s *Session) Dir() string { return s.dir }

// Mkdir makes a directory of its own below Dir, readable by its owner alone, and returns its path.
func (s *Session) Mkdir(prefix string) (string, error) {
	dir, err := os.MkdirTemp(s.dir, prefix+"-")
	if err != nil {
		return "", fmt.Errorf("make a directory in the run's directory: %w", err)
	}
	return dir, nil
}

// Track registers something that has to be gone when the run is over.
func (s *Session) Track(kind Kind, id string) { s.tell("+", kind, id) }

// Untrack takes back what Track registered. For a process: as soon as it has been waited for, because its number can be another's
// from then on.
func (s *Session) Untrack(kind Kind, id string) { s.tell("-", kind, id) }

// TrackPID is Track for process ids.
func (s *Session) TrackPID(kind Kind, pid int) { s.Track(kind, strconv.Itoa(pid)) }

// UntrackPID is Untrack for process ids.
func (s *Session) UntrackPID(kind Kind, pid int) { s.Untrack(kind, strconv.Itoa(pid)) }

func (s *Session) tell(sign string, kind Kind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	// A reaper that is gone cannot be told anything; the ordinary way of stopping does not need it.
	_, _ = fmt.Fprintf(s.pipe, "%s %s %s\n", sign, kind, id)
}

// Close ends what is still registered, removes the directory and waits until both are done.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	_ = s.pipe.Close()
	_ = s.cmd.Wait() // its exit code is that of the last thing it tried; what counts is checked below
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove the run's directory: %w", err)
	}
	return nil
}

// baseDir returns the directory to make the run's directory in: the wanted one, unless we are root and others cannot pass
// through it.
func baseDir(want string, euid int) (string, error) {
	if euid != 0 {
		return want, nil
	}
	tried := []string{want, "/tmp", "/var/tmp"}
	for _, dir := range tried {
		if passable(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no directory that an unprivileged Postgres can reach: tried %q", tried)
}

// passable says whether every directory on the path can be passed through by everybody.
func passable(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil || !filepath.IsAbs(dir) {
		return false
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
