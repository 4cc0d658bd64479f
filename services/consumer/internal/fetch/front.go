package fetch

import "time"

// front says which reads may begin at the queue's front, where the reads of all consumers have come to (see fetch.sql of package queue), instead
// of at the beginning: those that follow a full one, for a second. So what is due before the front, because it was committed late or given
// back in its place, waits for a second at most, and nothing at all where reads find less than they want.
type front struct {
	now   func() time.Time
	until time.Time // reads before may; zero: the next one may not
}

// farthest is how long reads may begin at the front without one from the beginning.
const farthest = time.Second

func (f *front) begins() bool { return f.now().Before(f.until) }

// noteRead notes how a read went that began there, or did not.
func (f *front) noteRead(there, full bool) {
	switch {
	case !full:
		f.until = time.Time{}
	case !there:
		f.until = f.now().Add(farthest)
	}
}
