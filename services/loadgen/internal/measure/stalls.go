package measure

import "time"

// StallAfter is how long the api must have answered nothing, with requests waiting, for it to be called a stall …
const StallAfter = 500 * time.Millisecond

// … and how many times its usual (median) answer that must be.
const stallFactor = 5

const maxStalls = 1000

// Stall is a time in which requests were waiting, for an answer or to be tried again after a fault of the network, and none was
// answered. Pauses that an answer asked for (Retry-After) are no waiting.
type Stall struct {
	At  time.Duration // since the run's start
	For time.Duration // how long
}

// stallWatch finds stalls from the answers as they come. Silence alone is none: at one order a second it is silent most of the time. It
// is a stall from when somebody was waiting, and who waited longest may be answered last; so the latest silence is kept in
// mind, and every answer to a request that began before it or in it says how much of it was waited through.
type stallWatch struct {
	last    time.Duration // the latest answer
	silence Stall         // the latest time without any, whoever waited
	waiting time.Duration // since when in it a request is known to have waited
	counted bool          // it is the last of found
	found   []Stall
}

// answer notes an answer to a request that has waited since begun.
func (w *stallWatch) answer(begun, ended time.Duration, usual *Histogram) {
	if ended-w.last >= StallAfter {
		w.silence, w.waiting, w.counted = Stall{At: w.last, For: ended - w.last}, ended, false
	}
	w.last = max(w.last, ended)
	end := w.silence.At + w.silence.For
	if w.silence.For == 0 || begun >= w.waiting {
		return
	}
	w.waiting = max(begun, w.silence.At)
	stall := Stall{At: w.waiting, For: end - w.waiting}
	switch {
	case w.counted:
		w.found[len(w.found)-1] = stall
	case stall.For >= StallAfter && stall.For >= stallFactor*usual.Percentile(50) && len(w.found) < maxStalls:
		w.found = append(w.found, stall)
		w.counted = true
	}
}
