package dashboard

import (
	"strconv"
	"time"

	"orderflow.example/services/api/internal/history"
)

// moments are an order's story as its page tells it.
func moments(h *history.History, now time.Time) []Moment {
	list := make([]Moment, 0, len(h.Events)+1)
	for i := range h.Events {
		list = append(list, momentOf(&h.Events[i]))
	}
	if m := h.Message; m != nil {
		last := Moment{At: now, Kind: "waiting"}
		switch m.State {
		case "waiting":
			last.Title = "Waiting for a consumer"
			if m.DueAt != nil {
				last.Waited = max(0, now.Sub(m.DueAt.Time))
			}
		case "delayed":
			last.Title = "Waiting for its next attempt"
			if m.DueAt != nil {
				last.Detail = "It is due at " + m.DueAt.UTC().Format("2006-01-02 15:04:05.000") + " UTC."
			}
		case "in_flight":
			last.Title = "With a consumer"
		case "elsewhere":
			last.Title = "In another queue"
			last.Detail = "Its message is in another queue of this database. The consumers of that one process it."
		default:
			last.Kind, last.Title = "failed", "Its message is not in the queue"
			last.Detail = "Nobody will process it. `api requeue` gives it a new message."
		}
		list = append(list, last)
	}
	return list
}

// kinds are those of a page's moments, by the events of a story, and what is said of each.
var kinds = map[string]struct{ kind, title string }{
	"accepted":   {"accepted", "Accepted"},
	"queued":     {"accepted", "Queued"},
	"failed":     {"failed", "failed"},
	"timed_out":  {"timed_out", "took too long"},
	"panicked":   {"failed", "panicked"},
	"permanent":  {"permanent", "failed for good"},
	"crashed":    {"failed", "killed its consumer"},
	"unanswered": {"lease_lost", "had no answer"},
	"lease_lost": {"lease_lost", "came back too late: its lease had run out"},
	"released":   {"handed_back", "Handed back, not started"},
	"omitted":    {"omitted", "Not kept"},
	"redriven":   {"redriven", "Redriven: back in the queue"},
	"requeued":   {"redriven", "Requeued: its message was gone, and it has a new one"},
	"deleted":    {"buried", "Its dead letter was deleted"},
	"completed":  {"completed", "Completed"},
	"dead":       {"buried", "Given up: moved to the dead letters"},
}

func momentOf(e *history.Event) Moment {
	known, ok := kinds[e.Event]
	if !ok {
		known.kind, known.title = e.Event, e.Event
	}
	m := Moment{At: e.At.Time, Kind: known.kind, Title: known.title, Waited: span64(e.WaitedSeconds), Worked: span64(e.WorkedSeconds)}
	switch {
	case e.Consumer != nil:
		m.Consumer = *e.Consumer
	case e.By != nil:
		m.Consumer = *e.By
	}
	if e.Note != nil {
		m.Detail = *e.Note
	}
	switch e.Event {
	case "failed", "timed_out", "panicked", "permanent", "crashed", "unanswered", "lease_lost":
		what := "A delivery"
		if e.Attempt != nil {
			m.Attempt = int(*e.Attempt)
			what = "Attempt " + strconv.Itoa(m.Attempt)
		}
		m.Title = what + " " + known.title
	case "completed":
		if e.Attempt != nil {
			m.Attempt = int(*e.Attempt)
			m.Title = "Completed, in attempt " + strconv.Itoa(m.Attempt)
		}
	}
	switch {
	case e.Times != nil && e.Event == "omitted":
		m.Detail = plural(int64(*e.Times), "delivery is", "deliveries are") + " not told of."
	case e.Times != nil:
		m.Title += ", " + plural(int64(*e.Times), "time", "times") + " in a row"
	}
	if e.Reason != nil {
		m.Detail = *e.Reason
	}
	if e.Error != nil {
		if m.Detail != "" {
			m.Detail += ": "
		}
		m.Detail += *e.Error
	}
	return m
}

func span64(s *float64) time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(*s * float64(time.Second))
}
