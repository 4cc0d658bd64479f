package gate

import "time"

// Result is what an attempt says about what the handlers call.
type Result int

// Answered is also a failure that is the order's own. Throttled is one that asks for patience.
const (
	Answered Result = iota
	Unavailable
	Throttled
)

// Window holds the results of the last attempts of one consumer, and says when they are reason to open the breaker: when more than a share
// of them says that what is called is unavailable. It holds twice as many as can be at work at the same time, so that one broken
// connection, by which all of those fail at once, is no reason. One order that cannot work is none either, however often it fails.
type Window struct {
	share float64
	least int
	age   time.Duration

	ring  []attempt
	first int
	size  int
	count [Throttled + 1]int
}

type attempt struct {
	at     time.Time
	order  int64
	result Result
}

// fewest is how many different orders have to fail.
const fewest = 3

// NewWindow makes a window of results that are no older than age. Share is between 0 and 1; 0 never opens the breaker. Least is how many
// results it takes.
func NewWindow(share float64, least, concurrency int, age time.Duration) *Window {
	return &Window{share: share, least: least, age: age, ring: make([]attempt, max(2*concurrency, 2*least))}
}

// Add notes a result and says whether the breaker is to open. slower is how many attempts were begun before this one and go on: failures
// are quick, as a rule, and what is known first is not what most will say. Until the window is full they count as if they were to be answered.
func (w *Window) Add(now time.Time, order int64, r Result, slower int) (trip bool) {
	for w.size > 0 && (w.size == len(w.ring) || now.Sub(w.ring[w.first].at) > w.age) {
		w.count[w.ring[w.first].result]--
		w.first = (w.first + 1) % len(w.ring)
		w.size--
	}
	w.ring[(w.first+w.size)%len(w.ring)] = attempt{now, order, r}
	w.size++
	w.count[r]++
	if r == Answered || w.share <= 0 {
		return false
	}
	// What asks for patience is there, and gets patience, unless it never does anything else.
	failed, of := w.count[Unavailable], w.count[Unavailable]+w.count[Answered]
	if w.count[Answered] == 0 {
		failed, of = w.size, w.size
	}
	if w.size < len(w.ring) {
		slower = max(slower, 0)
	} else {
		slower = 0
	}
	return of >= w.least && float64(failed) > w.share*float64(of+slower) && w.several()
}

// several says whether enough different orders have failed.
func (w *Window) several() bool {
	var orders [fewest]int64
	found := 0
next:
	for i := range w.size {
		a := w.ring[(w.first+i)%len(w.ring)]
		if a.result == Answered {
			continue
		}
		for _, known := range orders[:found] {
			if known == a.order {
				continue next
			}
		}
		orders[found] = a.order
		if found++; found == fewest {
			return true
		}
	}
	return false
}

// Clear forgets all results: they are about a time that is over.
func (w *Window) Clear() { w.first, w.size, w.count = 0, 0, [Throttled + 1]int{} }
