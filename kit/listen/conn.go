package listen

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Conn is a connection that its listener may close for another one, unless it is [Conn.Busy]. Whoever serves it says what it
// is doing; a new one is waiting for its first request.
type Conn struct {
	net.Conn
	owner  *Listener
	state  atomic.Int64 // when it began, in ns since the program's start, and in the two lowest bits what it is
	closed atomic.Bool

	answered atomic.Bool // at least once
}

const (
	idle    = iota // between two requests
	waiting        // for the client, in the midst of a request or an answer; up to here it may be closed for others
	busy           // somebody works on its request
	evicted
	stateMask = 3
)

var programStart = time.Now()

func now() int64 { return int64(time.Since(programStart)) &^ stateMask }

// mark is false when the connection has been given up for another one.
func (c *Conn) mark(state int64) bool {
	next := now() | state
	for {
		was := c.state.Load()
		if was&stateMask == evicted {
			return false
		}
		if c.state.CompareAndSwap(was, next) {
			return true
		}
	}
}

// Idle says that a request is answered and nothing is under way. When that has lasted a while, it is among the first to be closed for others. False: it is
// closed already.
func (c *Conn) Idle() bool {
	if !c.answered.Load() {
		c.answered.Store(true)
	}
	return c.mark(idle)
}

// Waiting says that the client has to send, or to take, the rest of something. When there are no idle ones, the one that has
// been waiting longest is closed.
func (c *Conn) Waiting() bool { return c.mark(waiting) }

// Busy says that a request is being worked on: it will not be closed.
func (c *Conn) Busy() bool { return c.mark(busy) }

// Evict closes the connection when its client has kept it waiting for longer than that.
func (c *Conn) Evict(longer time.Duration) bool {
	was := c.state.Load()
	return was&stateMask == waiting && now()-was&^stateMask > int64(longer) && c.evict(was)
}

// evict closes the connection if it still is what it was when it was chosen.
func (c *Conn) evict(was int64) bool {
	if !c.state.CompareAndSwap(was, now()|evicted) {
		return false
	}
	// What the client has not taken is dropped. The kernel would keep it for minutes, with no bound on how many such connections.
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close() // nobody could do anything about an error
	return true
}

// Close closes the connection. It can be called more than once.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	err := c.Conn.Close() // before it is counted out: its descriptor must be free then
	c.owner.forget(c)
	return err
}

// CloseWrite tells the client that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Track is for the ConnState of an [http.Server] on such a listener.
func Track(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*Conn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.Busy()
	case http.StateIdle:
		c.Idle()
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}
