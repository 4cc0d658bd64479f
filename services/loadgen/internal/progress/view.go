// Package progress shows a run while it goes on: one line on a terminal, otherwise a line of the log every few seconds. It only looks: what it shows
// is read from the recorder, and nothing waits for it.
package progress

import (
	"sync"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
)

// View is what there is to see.
type View struct {
	Doing    string        // what the sending is for
	Total    int           // orders to send; 0 = as many as fit into Length
	Length   time.Duration // of the sending; 0 = until Total
	Recorder *measure.Recorder

	mu       sync.Mutex
	auditing bool
	progress audit.Progress
}

// Audit takes in the audit's progress; from then on the view shows the audit.
func (v *View) Audit(p audit.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.auditing, v.progress = true, p
}

// state is the view at one moment.
type state struct {
	measure.Snapshot
	doing    string
	auditing bool
	progress audit.Progress
	rate     float64 // orders accepted (while sending) or settled (while auditing) a second since the state before
	done     float64 // 0 to 1
}

// look takes the state now; before is the one that the rate counts from.
func (v *View) look(now time.Time, before *state) state {
	s := state{Snapshot: v.Recorder.Snapshot(now), doing: v.Doing}
	v.mu.Lock()
	s.auditing, s.progress = v.auditing, v.progress
	v.mu.Unlock()
	if before != nil {
		if d := (s.Elapsed - before.Elapsed).Seconds(); d > 0 {
			s.rate = float64(s.Totals.Accepted-before.Totals.Accepted) / d
			if s.auditing && before.auditing {
				s.rate = max(0, float64(s.progress.Completed+s.progress.Dead-before.progress.Completed-before.progress.Dead)/d)
			}
		}
	}
	switch {
	case s.auditing:
		if s.progress.Accepted > 0 {
			s.done = float64(s.progress.Completed+s.progress.Dead) / float64(s.progress.Accepted)
		}
	case v.Total > 0:
		s.done = float64(s.Totals.Accepted+s.Totals.Refused+s.Totals.Unknown) / float64(v.Total)
	case v.Length > 0:
		s.done = s.Elapsed.Seconds() / v.Length.Seconds()
	}
	s.done = min(max(s.done, 0), 1)
	return s
}
