package housekeeping

import "time"

// pace decides how large the next step is, and how long to rest before it, by how long the last one took. A step on a database that is
// busy takes longer, and so the steps get smaller and the rests longer: the work never has more than a fifth of a connection's time, and
// where even the smallest step is slow, a twentieth.
type pace struct{ size, least, most int }

const (
	aim         = 25 * time.Millisecond // what a step should take: a request that waits for it hardly notices
	share       = 4                     // rest, for each time of work
	smallShare  = 19
	shortestNap = 2 * time.Millisecond
	longestNap  = 10 * time.Second
)

// after learns from a step, and returns how long to rest.
func (p *pace) after(took time.Duration) time.Duration {
	rest := share * took
	switch {
	case took > 2*aim && p.size == p.least:
		rest = smallShare * took
	case took > 2*aim:
		p.smaller()
	case took < aim/2:
		p.size = min(2*p.size, p.most)
	}
	return min(max(rest, shortestNap), longestNap)
}

func (p *pace) smaller() { p.size = max(p.size/2, p.least) }
