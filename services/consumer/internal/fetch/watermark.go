package fetch

import (
	"sync"
	"time"
)

// watermark bounds looks at the vt index from below while a look at all of it is expensive. Reads go from the earliest due
// time on; when something holds vacuum back (see the doctor), the entries of every message that has been consumed since are
// still there, in front of those that are due, and each look walks over all of them: 100,000 cost some 10 ms. So after an
// expensive look the next ones begin shortly before the last message found, and only now and then one begins at the beginning:
// for what was committed late, or was locked, and is due earlier. The watermark is a time of the database's clock.
type watermark struct {
	mu   sync.Mutex
	at   time.Time // nothing is due before, as far as is known
	full time.Time // when to look at all of it again, on our clock
}

const (
	cheapLook  = 5 * time.Millisecond    // not worth avoiding,
	cheapEach  = 100 * time.Microsecond  // with so much more for each message that it found
	lookShare  = 20                      // full looks take this part of the time at most
	latestLook = time.Second             // and are never further apart than this
	straggling = -250 * time.Millisecond // how much a commit may lag behind the due time it sets, without waiting for a full look
)

// bound is where the next look may begin; zero is the beginning. When it is not, until is when the beginning has to be
// looked at again.
func (w *watermark) bound() (bound, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.full) {
		return w.at, w.full
	}
	return time.Time{}, time.Time{}
}

// looked notes what a look from bound has cost and found. last is the due time of the last of n messages.
func (w *watermark) looked(bound time.Time, took time.Duration, n int, last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bound.IsZero() {
		w.full = time.Time{}
		if took > cheapLook+time.Duration(n)*cheapEach {
			w.full = time.Now().Add(min(lookShare*took, latestLook))
		}
	}
	// A look at all of it knows better, and may find what is older than anything before: messages that were committed late.
	if n > 0 && (bound.IsZero() || last.Add(straggling).After(w.at)) {
		w.at = last.Add(straggling)
	}
}
