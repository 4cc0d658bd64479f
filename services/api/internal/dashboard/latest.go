package dashboard

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
)

// shortText is how many characters of a name the overview shows.
const shortText = 100

func (o *latestRow) shown() LatestOrder {
	l := LatestOrder{
		ID: o.ID, CreatedAt: micros(o.CreatedAt), CustomerName: short(o.CustomerName), ProductName: short(o.ProductName),
		Status: o.Status, Attempts: o.Attempts,
	}
	if o.CompletedAt != nil {
		at := micros(*o.CompletedAt)
		l.CompletedAt = &at
	}
	return l
}

// micros is a moment of the database's, in µs since 1970.
func micros(at int64) isotime.Time { return isotime.Time{Time: time.UnixMicro(at)} }

// short is the beginning of a text.
func short(text string) string {
	n := 0
	for i := range text {
		if n == shortText {
			return text[:i] + "…"
		}
		n++
	}
	return text
}

func moment(t *time.Time) *isotime.Time {
	if t == nil {
		return nil
	}
	return &isotime.Time{Time: *t}
}

func emptyWindow(step int) Window {
	none := []*float64{}
	return Window{
		StepSeconds: step, At: []int64{}, Accepted: none, Completed: none, Retries: none, Waiting: none, InFlight: none, Delayed: none,
		OldestAge: none, Consumers: none, P50: none, P95: none, P99: none,
	}
}
