// Package listen makes a listener that outlives what happens to listeners: a shortage of descriptors or memory is waited out
// instead of ending the process, and a bounded number of connections is kept, of which those that nobody works on make room
// for newcomers.
//
// It must never close a connection whose request is being worked on.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Listener is a net.Listener with a bound. Its connections are *[Conn].
type Listener struct {
	net.Listener
	log  *slog.Logger
	most int

	resting time.Duration // see the constants
	fresh   time.Duration

	evicted, failed atomic.Int64 // see Stats

	mu    sync.Mutex
	conns map[*Conn]struct{}
	full  bool // the log says so

	closed    chan struct{}
	closeOnce sync.Once
	short     shortage
}

// New bounds a listener to so many connections at a time.
func New(ln net.Listener, most int, log *slog.Logger) *Listener {
	return &Listener{Listener: ln, log: log, most: most, resting: resting, fresh: fresh, conns: make(map[*Conn]struct{}), closed: make(chan struct{})}
}

// TCP listens on an address and bounds it to so many connections at a time.
func TCP(ctx context.Context, address string, most int, log *slog.Logger) (*Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return New(ln, most, log), nil
}

// SetBuffers bounds what the kernel keeps of each connection that comes from now on, in bytes: received, and not yet read; written,
// and not yet taken. It is for listeners of TCP; others have no such buffers.
func (l *Listener) SetBuffers(receive, send int) error {
	tcp, ok := l.Listener.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		if failed := raw.Control(func(fd uintptr) { err = setBuffers(fd, receive, send) }); failed != nil {
			err = failed
		}
	}
	if err != nil {
		return fmt.Errorf("set the buffers of connections: %w", err)
	}
	return nil
}

// Len is the number of connections.
func (l *Listener) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Stats are a listener's connections in numbers.
type Stats struct {
	Open, Most int
	Evicted    int64 // closed to make room for others, since the start
	Failed     int64 // attempts to accept one that failed
}

// Stats counts.
func (l *Listener) Stats() Stats {
	return Stats{Open: l.Len(), Most: l.most, Evicted: l.evicted.Load(), Failed: l.failed.Load()}
}

// Close stops accepting. Connections stay.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept waits for a connection. It returns an error only when no other can ever come.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if !passing(err) {
				return nil, err
			}
			l.failed.Add(1)
			wait := l.short.begins(l.log, err)
			l.closeLongest(l.share()) // descriptors that nobody uses
			if !l.sleep(wait) {
				return nil, net.ErrClosed
			}
			continue
		}
		l.short.ends(l.log)
		c := &Conn{Conn: conn, owner: l}
		c.mark(waiting)
		if !l.admit(c) {
			return nil, net.ErrClosed
		}
		return c, nil
	}
}

// sleep waits, unless the listener is closed meanwhile.
func (l *Listener) sleep(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// passing tells errors of accept that come and go from those of a listener that nobody can use any more. The former are all
// the others: accept(2) reports what happened to a connection, too.
func passing(err error) bool {
	for _, fatal := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if errors.Is(err, fatal) {
			return false
		}
	}
	return true
}

// shortage is the time in which accept fails. It belongs to the goroutine that accepts.
type shortage struct {
	wait   time.Duration
	failed int
}

const longestWait = time.Second

// begins returns how long to wait before the next try. The first time it writes a line.
func (s *shortage) begins(log *slog.Logger, err error) time.Duration {
	if s.failed == 0 {
		s.wait = 5 * time.Millisecond
		log.Warn("connections cannot be accepted; retrying", "error", err)
	}
	s.failed++
	wait := s.wait
	s.wait = min(2*s.wait, longestWait)
	return wait
}

func (s *shortage) ends(log *slog.Logger) {
	if s.failed > 0 {
		log.Info("connections are accepted again", "failed", s.failed)
		s.failed = 0
	}
}
