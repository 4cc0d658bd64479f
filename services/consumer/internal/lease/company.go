package lease

import "sync"

// A message whose last delivery had no answer is suspect: its consumer died, or was cut off, and nobody knows of which message. So it is
// worked on in ever smaller company, until it is alone: see docs/decisions/0011.

// Suspicion is how suspect a message is: 0 is not at all.
type Suspicion int

// mostSuspect is where even the largest CONCURRENCY comes down to one.
const mostSuspect Suspicion = 5

// suspicionOf is the suspicion of a message with so many deliveries in a row that had no answer.
func suspicionOf(unanswered int32) Suspicion { return min(Suspicion(unanswered), mostSuspect) }

// Of is how many of n messages there may be where the most suspect one is as suspect as this: all, a half, an eighth, a 64th …, at least
// one. The first time is nothing unusual, a node that was taken away for instance, and costs little; the third is no coincidence.
func (s Suspicion) Of(n int) int { return max(n>>(s*(s+1)/2), 1) }

// alone says whether nothing else may be worked on, of at most concurrency.
func (s Suspicion) alone(concurrency int) bool { return s > 0 && s.Of(concurrency) == 1 }

// Holds is how many of so many may be held, in work or ahead of it: whoever dies with them makes all of them more suspect.
func (s Suspicion) Holds(concurrency, ahead int) int {
	if s.alone(concurrency) {
		return 1
	}
	return s.Of(concurrency + ahead)
}

// company is who is worked on at the same time. A delivery belongs to it until its handler returns; one that is alone, or that has ack
// work, until its end has been written. A delivery is admitted when no more are in work than it and all others allow. They
// are admitted in the order in which they come, so that nobody waits longer than for those who are at work.
type company struct {
	concurrency int

	mu      sync.Mutex
	changed sync.Cond
	members [mostSuspect + 1]int // in work, by how suspect they are
	last    uint64               // number of the last who came
	turn    uint64               // number of the next to be admitted
	waiting int
	closed  bool
}

func newCompany(concurrency int) *company {
	c := &company{concurrency: concurrency, turn: 1}
	c.changed.L = &c.mu
	return c
}

// join waits until a delivery that is so suspect may be worked on. It says false when the company is closed.
func (c *company) join(s Suspicion) (admitted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	mine := c.last
	for !c.closed && (c.turn != mine || !c.hasRoom(s)) {
		c.waiting++
		c.changed.Wait()
		c.waiting--
	}
	if c.closed {
		return false
	}
	c.turn++
	c.members[s]++
	c.wake()
	return true
}

// leave is the end of one that had joined.
func (c *company) leave(s Suspicion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[s]--
	c.wake()
}

// close sends away who waits, and whoever comes.
func (c *company) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wake()
}

// wake lets those who wait look again. Without any suspect nobody waits.
func (c *company) wake() {
	if c.waiting > 0 {
		c.changed.Broadcast()
	}
}

func (c *company) hasRoom(s Suspicion) bool {
	n := 0
	for level, members := range c.members {
		if n += members; members > 0 {
			s = max(s, Suspicion(level))
		}
	}
	return s == 0 || n < s.Of(c.concurrency) || n == 0
}
