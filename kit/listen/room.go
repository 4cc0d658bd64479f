package listen

import (
	"cmp"
	"slices"
	"time"
)

// patience is how often a newcomer for whom there is no room looks for it again.
const patience = 10 * time.Millisecond

// admit takes a connection in, and makes the room that it needs. While all are busy, or have just come, it waits, and the kernel's
// queue with it: no request takes long. False: the listener was closed meanwhile.
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
			l.log.Warn("connection limit reached: idle and slow connections are closed to make room", "connections", l.most)
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

// fresh is for how long a connection is left alone in any case: most requests are read and answered within it. When all the others
// are busy, those that have just come would be closed for each other otherwise.
const fresh = 250 * time.Millisecond

// closeLongest closes up to n connections, those that have been idle longest, or else those that have been waiting longest for
// their clients. These are of two kinds, which have had an answer and which have had none, and the more numerous kind makes room:
// neither crowd takes more than half from the other. It returns how many it closed.
func (l *Listener) closeLongest(n int) int {
	type candidate struct {
		conn  *Conn
		state int64
	}
	var idlers, strangers, others []candidate
	unanswered := 0
	rested, aged := now()-int64(l.resting), now()-int64(l.fresh)
	l.mu.Lock()
	for c := range l.conns {
		answered := c.answered.Load()
		if !answered {
			unanswered++
		}
		switch state := c.state.Load(); {
		case state&stateMask > waiting || state >= aged:
		case state&stateMask == idle && state < rested:
			idlers = append(idlers, candidate{c, state})
		case answered:
			others = append(others, candidate{c, state})
		default:
			strangers = append(strangers, candidate{c, state})
		}
	}
	order := [][]candidate{idlers, strangers, others}
	if 2*unanswered < len(l.conns) {
		order = [][]candidate{idlers, others, strangers}
	}
	l.mu.Unlock()
	closed := 0
	for _, all := range order {
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
