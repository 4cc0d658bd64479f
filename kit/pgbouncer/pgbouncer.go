// Package pgbouncer owns a PgBouncer in front of a PostgreSQL database, for tests and for what makes faults.
//
// It must never be part of a service.
package pgbouncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mode is PgBouncer's pool_mode.
type Mode string

// The modes.
const (
	Session     Mode = "session"
	Transaction Mode = "transaction"
	Statement   Mode = "statement"
)

// ErrMissing is the error when PgBouncer is not installed.
var ErrMissing = errors.New("pgbouncer is not installed (Debian: apt-get install pgbouncer)")

// Pooler is a running PgBouncer.
type Pooler struct {
	URL string // of the database, by way of it

	program, dir string
	address      string // where it listens
	target       string // of its configuration: the database
	mu           sync.Mutex
	log          bytes.Buffer
	cmd          *exec.Cmd
}

// nobody is the user that it runs as when we are root, as whom it refuses to.
const nobody = 65534

// Start starts one, with so many connections to the server at most. Every client is let in, as the database URL's user.
func Start(ctx context.Context, databaseURL string, mode Mode, connections int) (*Pooler, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			return nil, ErrMissing
		}
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errors.New("the database must be given as a URL")
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port for pgbouncer: %w", err)
	}
	address := ln.Addr().String()
	_ = ln.Close() // nothing was accepted
	dir, err := os.MkdirTemp("", "pgbouncer")
	if err != nil {
		return nil, fmt.Errorf("make a directory for pgbouncer: %w", err)
	}
	password, _ := u.User.Password()
	p := &Pooler{program: program, dir: dir, address: address, target: fmt.Sprintf("%s = host=%s port=%s user=%s password=%s",
		strings.TrimPrefix(u.Path, "/"), u.Hostname(), u.Port(), u.User.Username(), password)}
	u.Host = address
	p.URL = u.String()
	if err := errors.Join(os.Chmod(dir, 0o755), p.configure(mode, connections)); err != nil { //nolint:gosec // another user reads it
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := p.Restart(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Pooler) config() string { return filepath.Join(p.dir, "pgbouncer.ini") }

func (p *Pooler) configure(mode Mode, connections int) error {
	host, port, _ := net.SplitHostPort(p.address)
	text := "[pgbouncer]\npool_mode = " + string(mode) + "\ndefault_pool_size = " + strconv.Itoa(connections) +
		"\nlisten_addr = " + host + "\nlisten_port = " + port + "\nmax_client_conn = 1000\nunix_socket_dir =\nauth_type = any\nserver_login_retry = 1\n" +
		"[databases]\n" + p.target + "\n"
	if err := os.WriteFile(p.config(), []byte(text), 0o644); err != nil { //nolint:gosec // as above
		return fmt.Errorf("configure pgbouncer: %w", err)
	}
	return nil
}

// Change makes it work in another mode, or with more connections, without ending any.
func (p *Pooler) Change(mode Mode, connections int) error {
	if err := p.configure(mode, connections); err != nil {
		return err
	}
	return p.signal(syscall.SIGHUP)
}

// Pause lets the statements that are under way come to their end, and none begin, until Resume.
func (p *Pooler) Pause() error { return p.signal(syscall.SIGUSR1) }

// Resume ends a Pause.
func (p *Pooler) Resume() error { return p.signal(syscall.SIGUSR2) }

// Kill ends it at once, with all its connections. Restart starts it again.
func (p *Pooler) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	p.cmd = nil
}

// Restart starts it, after killing it if it runs, and waits until it listens.
func (p *Pooler) Restart(ctx context.Context) error {
	p.Kill()
	cmd := exec.Command(p.program, p.config()) //nolint:noctx // it outlives ctx, and Kill ends it
	cmd.Stderr = p
	cmd.SysProcAttr = endWithUs()
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pgbouncer: %w", err)
	}
	p.cmd = cmd
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for pgbouncer to listen: %w\n%s", err, p.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Close ends it, and removes what it has left.
func (p *Pooler) Close() error {
	p.Kill()
	return os.RemoveAll(p.dir)
}

func (p *Pooler) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal pgbouncer: %w", err)
	}
	return nil
}

// Write takes its log.
func (p *Pooler) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

// Log is what it has logged.
func (p *Pooler) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}
