package fetch

import (
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// front says which reads may begin at the queue's front, where the reads of all consumers have come to (docs/decisions/0016), instead of at the
// beginning: large ones that follow a full one, for a second. So what is due before the front, because it was committed late or given back in its
// place, waits for a second at most.
type front struct {
	now   func() time.Time
	until time.Time // reads before may; zero: the next one may not
}

// farthest is how long reads may begin at the front without one from the beginning.
const farthest = time.Second

// begins says whether a read of so many messages may begin there. Smaller ones than move the front may not: they would pass over what is
// before it as well, and never move it back.
func (f *front) begins(messages int) bool {
	return messages >= queue.MovesFront && f.now().Before(f.until)
}

// noteRead notes how a read went.
func (f *front) noteRead(b queue.Bounds, full bool) {
	switch {
	case !full:
		f.until = time.Time{}
	case b.Watermark.IsZero() && !b.Front && b.Messages >= queue.MovesFront:
		f.until = f.now().Add(farthest)
	}
}
