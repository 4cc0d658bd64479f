package listen

import (
	"cmp"
	"slices"
	"time"
)

// Who makes room for whom: a newcomer always gets in, and what is closed for it is, in this order,
//
//  1. connections that have been idle for longer than `resting`;
//  2. those whose clients have been waited for longer than `fresh`: first the more numerous of those that have had an answer and those
//     that have had none, so that neither crowd takes more than half of the room from the other.
//
// Within each, the one that has been so longest goes first. Those on whose request the server works are never closed, nor those whose
// clients wait for the server, which got no processor: to read what they have sent, or to go on with what it has read.

// lookAgain is how long a newcomer waits before it looks for room again when there is none.
const lookAgain = 10 * time.Millisecond

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
		if l.closeLongest(l.share()) == 0 && !l.sleep(lookAgain) {
			_ = c.Conn.Close()
			return false
		}
	}
}

// share is how many are closed at a time. Looking for them costs as much for one as for many.
func (l *Listener) share() int { return max(1, l.most/64) }

// resting is how long a connection must have been idle to be closed before any whose client is waited for. One that is used again and
// again is not.
const resting = time.Second

// fresh is for how long a connection is left alone in any case: most requests are read and answered within it. When all the others
// are busy, those that have just come would be closed for each other otherwise.
const fresh = 250 * time.Millisecond

// closeLongest closes up to n connections, all of the first kind that has any (see above), and returns how many it closed.
func (l *Listener) closeLongest(n int) int {
	type candidate struct {
		conn  *Conn
		state int64
	}
	var rest, answered, unanswered []candidate
	neverAnswered := 0 // in any state
	rested, aged := now()-int64(l.resting), now()-int64(l.fresh)
	l.mu.Lock()
	for c := range l.conns {
		hadAnswer := c.answered.Load()
		if !hadAnswer {
			neverAnswered++
		}
		switch state := c.state.Load(); {
		case !evictable(state) || state >= aged:
		case state&stateMask == idle && state < rested:
			rest = append(rest, candidate{c, state})
		case hadAnswer:
			answered = append(answered, candidate{c, state})
		default:
			unanswered = append(unanswered, candidate{c, state})
		}
	}
	order := [][]candidate{rest, unanswered, answered}
	if 2*neverAnswered < len(l.conns) {
		order = [][]candidate{rest, answered, unanswered}
	}
	l.mu.Unlock()
	closed := 0
	for _, kind := range order {
		slices.SortFunc(kind, func(a, b candidate) int { return cmp.Compare(a.state, b.state) })
		for _, one := range kind {
			if closed < n && one.conn.evict(one.state) {
				closed++
			}
		}
		if closed > 0 {
			return closed
		}
	}
	return closed
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}
