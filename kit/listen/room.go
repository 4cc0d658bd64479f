package listen

import (
	"cmp"
	"slices"
	"time"
)

// patience is how often a newcomer for whom there is no room looks for it again.
const patience = 10 * time.Millisecond

// admit takes a connection in, and makes the room that it needs. While all are busy it waits, and the kernel's queue with it:
// no request takes long. False: the listener was closed meanwhile.
func (l *Listener) admit(c *Conn) bool {
	for {
		l.mu.Lock()
		if len(l.conns) < l.most {
			l.conns[c] = struct{}{}
			if l.full && len(l.conns) < l.most*3/4 {
				l.full = false
				l.log.Info("there is room for connections again", "connections", len(l.conns))
			}
			l.mu.Unlock()
			return true
		}
		said := l.full
		l.full = true
		l.mu.Unlock()
		if !said {
			l.log.Warn("as many connections as there may be: idle ones, and those of slow clients, are closed for others", "connections", l.most)
		}
		if l.closeLongest(l.share()) == 0 && !l.sleep(patience) {
			_ = c.Conn.Close()
			return false
		}
	}
}

// share is how many are closed at a time. Looking for them costs as much for one as for many.
func (l *Listener) share() int { return max(1, l.most/64) }

// resting is how long a connection must have been idle to be closed before any that is under way. One that is used again and again
// is not.
const resting = time.Second

// closeLongest closes up to n connections, those that have been idle longest, or else those that have been waiting longest for
// their clients. It returns how many it closed.
func (l *Listener) closeLongest(n int) int {
	type candidate struct {
		conn  *Conn
		state int64
	}
	var idlers, others []candidate
	before := now() - int64(resting)
	l.mu.Lock()
	for c := range l.conns {
		switch state := c.state.Load(); {
		case state&stateMask == idle && state < before:
			idlers = append(idlers, candidate{c, state})
		case state&stateMask == idle, state&stateMask == waiting:
			others = append(others, candidate{c, state})
		}
	}
	l.mu.Unlock()
	closed := 0
	for _, all := range [][]candidate{idlers, others} {
		slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.state, b.state) })
		for _, one := range all {
			if closed < n && one.conn.evict(one.state) {
				closed++
			}
		}
		if closed > 0 {
			return closed // those that are under way only when there is no idle one
		}
	}
	return closed
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}
