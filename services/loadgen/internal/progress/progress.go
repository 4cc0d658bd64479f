// Package progress shows a run while it goes on: one line on a terminal, otherwise a line of the log every few seconds. It only looks: what it shows
// is read from the recorder, and nothing waits for it.
package progress

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/thresholds"
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

// Options say how to show it.
type Options struct {
	Mode     string        // auto, lines or off
	Every    time.Duration // between two lines of the log
	Log      *slog.Logger
	Terminal *Terminal
}

// refresh is the time between two looks on a terminal.
const refresh = 250 * time.Millisecond

// Show shows the view until the context ends: on a terminal as one line that is drawn again and again, otherwise as lines of the log.
func Show(ctx context.Context, v *View, o Options) {
	every, tell := o.Every, func(s *state) { s.log(o.Log) }
	switch {
	case o.Mode == "off":
		<-ctx.Done()
		return
	case o.Mode == "auto" && o.Terminal.Terminal():
		every, tell = refresh, func(s *state) { o.Terminal.draw(s.line()) }
		defer o.Terminal.draw("") // the final table says it all
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	before := v.look(time.Now(), nil)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s := v.look(now, &before)
			tell(&s)
			if s.Elapsed-before.Elapsed >= time.Second { // over less, a rate would only flicker
				before = s
			}
		}
	}
}

// text is the state in a few words.
func (s *state) text() string {
	if p := s.progress; s.auditing {
		about := ""
		if p.Estimated {
			about = "about "
		}
		return fmt.Sprintf("audit %3.0f%%: %s%d of %d settled", s.done*100, about, p.Completed+p.Dead, p.Accepted)
	}
	return fmt.Sprintf("%s %3.0f%%: %d accepted, %.0f/s, p50 %s, p99 %s", s.doing, s.done*100, s.Totals.Accepted, s.rate, thresholds.Duration(s.P50), thresholds.Duration(s.P99))
}

// line is the state in a line, with all that is not as usual.
func (s *state) line() string {
	var b strings.Builder
	b.WriteString(s.text())
	add := func(n int64, what string) {
		if n > 0 {
			fmt.Fprintf(&b, ", %s %d", what, n)
		}
	}
	t := &s.Totals
	if s.auditing {
		add(int64(s.progress.Missing), "missing")
	} else {
		add(s.InFlight, "in flight")
		add(t.Failed, "failed tries")
		add(t.Unknown, "given up")
		add(t.Late, "late")
		add(t.Dropped, "dropped")
		add(int64(len(s.Stalls)), "stalls")
	}
	if s.Queue != nil {
		add(int64(s.Queue.Depth), "queue")
		add(int64(s.Queue.DeadLetters), "dead letters")
	}
	return b.String()
}

// log writes the state to the log: for people in the message, for programs in the attributes.
func (s *state) log(log *slog.Logger) {
	if s.Queue != nil {
		log = log.With(slog.Int("queue_depth", s.Queue.Depth))
	}
	if p := s.progress; s.auditing {
		log.Info(s.text(), slog.Int("accepted", p.Accepted), slog.Int("completed", p.Completed), slog.Int("dead", p.Dead), slog.Int("pending", p.Pending),
			slog.Int("missing", p.Missing), slog.Bool("estimated", p.Estimated))
		return
	}
	t := &s.Totals
	log.Info(s.text(), slog.Int64("sent", t.Sent), slog.Int64("accepted", t.Accepted), slog.Float64("rate", s.rate),
		slog.Float64("p50_ms", s.P50.Seconds()*1000), slog.Float64("p99_ms", s.P99.Seconds()*1000), slog.Int64("in_flight", s.InFlight),
		slog.Int64("failed_tries", t.Failed), slog.Int64("retries", t.Retries), slog.Int64("late", t.Late), slog.Int64("dropped", t.Dropped))
}
