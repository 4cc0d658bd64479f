package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/ps"
	"orderflow.example/dev/internal/session"
)

// cluster is a private server run from binaries, as a child of ours.
type cluster struct {
	session  *session.Session
	bin      string
	dir      string // everything of the cluster
	user     *syscall.Credential
	settings []string
	env      []string

	mu     sync.Mutex
	port   int
	server *proc.Process
	paused []int
}

const (
	fastGrace      = 20 * time.Second // for a shutdown checkpoint on a slow disk
	immediateGrace = 5 * time.Second
)

// startCluster makes a cluster and starts it on a free port. Between picking a port and listening on it another process can be
// faster (two demos started together): Postgres then ends at once and the next port is tried.
func startCluster(ctx context.Context, opts Options, bin string, user *syscall.Credential) (*Server, error) {
	dir, err := opts.Session.Mkdir("postgres")
	if err != nil {
		return nil, err
	}
	c := &cluster{session: opts.Session, bin: bin, dir: dir, user: user, settings: settings(opts), env: opts.Env}
	password := NewPassword()
	if err := c.init(ctx, password); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", bin, err), os.RemoveAll(dir))
	}
	for try := 0; ; try++ {
		c.port, err = ports.Free()
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		server := &Server{Source: "a private cluster of " + bin, url: privateURL(c.port, password), own: c}
		err = server.Start(ctx)
		if err == nil {
			return server, nil
		}
		if try < 5 && ports.Taken(c.port) {
			continue
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", bin, err), c.remove(context.WithoutCancel(ctx)))
	}
}

func settings(opts Options) []string {
	s := []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=", // nobody but us needs to connect, and the path of a socket is limited to 107 bytes
		"logging_collector=off",
		"log_destination=stderr",
	}
	if opts.MaxConnections > 0 {
		s = append(s, "max_connections="+strconv.Itoa(opts.MaxConnections))
	}
	return append(s, opts.Settings...)
}

// environ is a small environment of its own: a PGDATA, PGPORT or PGOPTIONS of ours would change the server.
func (c *cluster) environ() []string {
	return append([]string{"PATH=" + c.bin + ":/usr/bin:/bin", "LANG=C", "LC_ALL=C", "HOME=" + c.dir, "TZ=UTC"}, c.env...)
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// init makes the cluster. --no-sync: what initdb writes need not survive a crash of the machine, the cluster is gone then anyway; the
// server itself runs with fsync on.
func (c *cluster) init(ctx context.Context, password string) error {
	passwordFile := filepath.Join(c.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the password for initdb: %w", err)
	}
	if c.user != nil {
		for _, path := range []string{c.dir, passwordFile} {
			if err := os.Chown(path, int(c.user.Uid), int(c.user.Gid)); err != nil {
				return fmt.Errorf("give %s to the server's user: %w", path, err)
			}
		}
	}
	initdb, err := proc.Start(c.session, proc.Spec{
		Name: "initdb", Path: filepath.Join(c.bin, "initdb"),
		Args: []string{
			"--pgdata=" + c.data(), "--username=postgres", "--pwfile=" + passwordFile, "--auth=scram-sha-256",
			"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
		},
		Env: c.environ(), Dir: c.dir, User: c.user,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	code, err := initdb.Wait(ctx)
	if err != nil {
		initdb.Kill()
		return fmt.Errorf("initdb: %w", err)
	}
	if code != 0 {
		return initdb.Failure()
	}
	if err := os.Remove(passwordFile); err != nil {
		return fmt.Errorf("remove the password file: %w", err)
	}
	return nil
}

func (c *cluster) start(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil && c.server.Running() {
		return errors.New("it is running already")
	}
	args := []string{"-D", c.data(), "-p", strconv.Itoa(c.port)}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	server, err := proc.Start(c.session, proc.Spec{
		Name: "postgres", Path: filepath.Join(c.bin, "postgres"), Args: args,
		Env: c.environ(), Dir: c.dir, User: c.user, Kind: session.Server,
	})
	if err != nil {
		return err
	}
	c.server = server
	return nil
}

// program runs one of the programs that come with the server, in the cluster's folder.
func (c *cluster) program(ctx context.Context, name string, args []string, env ...string) error {
	bin := c.bin
	// Somebody may have linked the server's programs into PATH, and not all that come with it.
	if program, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres")); err == nil {
		bin = filepath.Dir(program)
	}
	p, err := proc.Start(c.session, proc.Spec{
		Name: name, Path: filepath.Join(bin, name), Args: args, Env: append(c.environ(), env...), Dir: c.dir, User: c.user,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*readyTimeout)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
		return fmt.Errorf("%s: %w", name, err)
	}
	if code != 0 {
		return p.Failure()
	}
	return nil
}

// own gives a file to the server's user.
func (c *cluster) own(path string) error {
	if c.user == nil {
		return nil
	}
	return os.Chown(path, int(c.user.Uid), int(c.user.Gid))
}

func (c *cluster) process() *proc.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// stop is a fast shutdown: connections are ended, a checkpoint is written. Without an end in time an immediate one, and then SIGKILL.
func (c *cluster) stop(ctx context.Context) error {
	server := c.process()
	if server == nil || !server.Running() {
		return nil
	}
	if err := c.resume(ctx); err != nil {
		return err
	}
	if err := server.Signal(syscall.SIGINT); err != nil && !errors.Is(err, proc.ErrEnded) {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, fastGrace)
	defer cancel()
	if _, err := server.Wait(bound); err == nil {
		return nil
	}
	return server.Stop(context.WithoutCancel(ctx), syscall.SIGQUIT, immediateGrace)
}

// crash kills the postmaster first, so that it can neither clean up nor start anything, and then each of its children.
func (c *cluster) crash(context.Context) error {
	server := c.process()
	if server == nil || !server.Running() {
		return errors.New("it is not running")
	}
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := childrenOfStopped(server.PID())
	if err != nil {
		return err
	}
	if err := server.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended by itself is as good as killed
	}
	<-server.Done()
	c.forgetPaused()
	return ps.WaitGone(children)
}

// childrenOfStopped are those of a postmaster that was sent SIGSTOP. It makes no more once it has stopped: one that is missed would keep the shared
// memory, and the next server would not start.
func childrenOfStopped(pid int) ([]int, error) {
	if err := ps.WaitStopped(pid); err != nil {
		return nil, err
	}
	return ps.Children(pid)
}

func (c *cluster) pause(context.Context) error {
	server := c.process()
	if server == nil || !server.Running() {
		return errors.New("it is not running")
	}
	if err := server.Signal(syscall.SIGSTOP); err != nil { // it comes first: then there are no new children
		return err
	}
	children, err := childrenOfStopped(server.PID())
	if err != nil {
		return errors.Join(err, server.Signal(syscall.SIGCONT))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pid := range append(children, server.PID()) {
		c.session.TrackPID(session.Stopped, pid)
		c.paused = append(c.paused, pid)
		_ = syscall.Kill(pid, syscall.SIGSTOP) // one that has ended meanwhile cannot be stopped
	}
	return nil
}

func (c *cluster) resume(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pid := range c.paused { // the postmaster, which would collect ended children, is the last
		_ = syscall.Kill(pid, syscall.SIGCONT)
		c.session.UntrackPID(session.Stopped, pid)
	}
	c.paused = nil
	return nil
}

func (c *cluster) forgetPaused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pid := range c.paused {
		c.session.UntrackPID(session.Stopped, pid)
	}
	c.paused = nil
}

func (c *cluster) remove(ctx context.Context) error {
	return errors.Join(c.stop(ctx), os.RemoveAll(c.dir))
}

func (c *cluster) failure() error {
	server := c.process()
	if server == nil || server.Running() {
		return nil
	}
	return server.Failure()
}
