package listen

import (
	"log/slog"
	"time"
)

// Rest sets how long a connection must have been idle to be the first that is closed.
func (l *Listener) Rest(resting time.Duration) { l.resting = resting }

// Fresh sets for how long a connection is left alone.
func (l *Listener) Fresh(fresh time.Duration) { l.fresh = fresh }

// Chosen chooses a connection to be closed for another one, which the function then does, if it still can be.
func (c *Conn) Chosen() (evict func() bool) {
	was := c.state.Load()
	return func() bool { return c.evict(was) }
}

// Unread tells whether there is something that the server has not read.
func (c *Conn) Unread() bool { return ready(c.Conn, false) }

// Writing tells whether the server is sending something.
func (c *Conn) Writing() bool { return c.state.Load()&turnMask == writing }

// Shortage is one that no listener has.
type Shortage struct{ of shortage }

// Begins is how long to wait after an attempt that failed.
func (s *Shortage) Begins(log *slog.Logger, err error) time.Duration { return s.of.begins(log, err) }

// Ends is an attempt that succeeded.
func (s *Shortage) Ends(log *slog.Logger) { s.of.ends(log) }
