package listen

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Conn is a connection that its listener may close for another one while its client is waited for, and never while the server works on its
// request. Whoever serves it says which it is: [Conn.Idle], [Conn.Waiting], [Conn.Busy]. A new one is waiting for its first request.
type Conn struct {
	net.Conn
	owner  *Listener
	state  atomic.Int64 // what it is, and whose turn, in the lowest bits; and since when it is that, in ns since the program's start
	closed atomic.Bool

	answered atomic.Bool // at least once
}

// The states of a connection. Each call of a method that sets one begins it anew; the listener alone sets the last, and nothing follows it.
const (
	idle      = iota // the client has had its answer, and has not begun another request
	waiting          // the client is sending its request, or taking its answer
	busy             // the server works on the request
	evicted          // closed for another one
	stateMask = 3
)

// Whose turn it is: what the server does with the connection at the moment, whatever its state. A new one is about to be read.
const (
	reading  = iota << 2 // the client is to send something
	writing              // the client is to take something
	serving              // neither: the server is to go on
	turnMask = 3 << 2
)

// evictable tells whether the listener may close a connection in this state.
func evictable(state int64) bool { return state&stateMask <= waiting && state&turnMask != serving }

var programStart = time.Now()

func now() int64 { return int64(time.Since(programStart)) &^ (stateMask | turnMask) }

// mark sets the state. False: the connection has been closed for another one.
func (c *Conn) mark(state int64) bool {
	next := now() | state
	for {
		was := c.state.Load()
		if was&stateMask == evicted {
			return false
		}
		if c.state.CompareAndSwap(was, next|was&turnMask) {
			return true
		}
	}
}

// turn says whose turn it is. The state stays, and since when.
func (c *Conn) turn(whose int64) {
	for {
		was := c.state.Load()
		if c.state.CompareAndSwap(was, was&^turnMask|whose) {
			return
		}
	}
}

// Read reads what the client has sent.
func (c *Conn) Read(b []byte) (int, error) {
	c.turn(reading)
	n, err := c.Conn.Read(b)
	c.turn(serving)
	return n, err
}

// Write sends the client something.
func (c *Conn) Write(b []byte) (int, error) {
	c.turn(writing)
	n, err := c.Conn.Write(b)
	c.turn(serving)
	return n, err
}

// Idle says that a request is answered and nothing is under way. When that has lasted a while, the connection is among the first to be
// closed for others. Like its siblings it is false when it has been closed already.
func (c *Conn) Idle() bool {
	if !c.answered.Load() {
		c.answered.Store(true)
	}
	return c.mark(idle)
}

// Waiting says that the client has to send, or to take, the rest of something. When no connection is idle, those that have been waiting
// longest are closed.
func (c *Conn) Waiting() bool { return c.mark(waiting) }

// Busy says that the server works on a request: until another state is set, the connection is not closed for others.
func (c *Conn) Busy() bool { return c.mark(busy) }

// Evict closes the connection when its client has kept it waiting for longer than that.
func (c *Conn) Evict(longer time.Duration) bool {
	was := c.state.Load()
	return was&stateMask == waiting && now()-was&^(stateMask|turnMask) > int64(longer) && c.evict(was)
}

// evict closes the connection if its state is still the one in which it was chosen, and if it is its client that is late. When it is the
// server's turn, or the system has what the server waits for, the server is: it got no processor meanwhile. A client cannot feign that for
// longer than the server takes to go on.
func (c *Conn) evict(was int64) bool {
	if !evictable(was) || ready(c.Conn, was&turnMask == writing) || !c.state.CompareAndSwap(was, now()|evicted) {
		return false
	}
	// What the client has not taken is dropped. The kernel would keep it for minutes, with no bound on how many such connections.
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close() // nobody could do anything about an error
	c.owner.evicted.Add(1)
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
