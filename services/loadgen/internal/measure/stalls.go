package measure

import "time"

// StallAfter is how long the api must have answered nothing, with requests waiting, for it to be called a stall …
const StallAfter = 500 * time.Millisecond

// … and how many times its usual (median) answer that must be.
const stallFactor = 5

const maxStalls = 1000

// Stall is a time in which requests were waiting and none was answered.
type Stall struct {
	At  time.Duration `json:"at"`  // since the run's start
	For time.Duration `json:"for"` // how long
}

// stallWatch finds stalls from the answers as they come.
type stallWatch struct {
	last  time.Duration // the latest answer
	found []Stall
}

// answer notes a request that waited from begun to ended. If nothing else was answered meanwhile, that long the api was silent.
func (w *stallWatch) answer(begun, ended time.Duration, usual *Histogram) {
	silent := max(begun, w.last)
	w.last = max(w.last, ended)
	if ended-silent < StallAfter || ended-silent < stallFactor*usual.Percentile(50) {
		return
	}
	// Requests that time out one after the other are one stall.
	if n := len(w.found); n > 0 && silent <= w.found[n-1].At+w.found[n-1].For+50*time.Millisecond {
		w.found[n-1].For = max(w.found[n-1].For, ended-w.found[n-1].At)
		return
	}
	if len(w.found) < maxStalls {
		w.found = append(w.found, Stall{At: silent, For: ended - silent})
	}
}
