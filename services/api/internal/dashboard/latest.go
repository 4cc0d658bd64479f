package dashboard

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/orders"
)

// latestOrders is how many of the newest orders the overview shows.
const latestOrders = 10

var noFilter orders.Filter

// shortText is how many characters of a name the overview shows.
const shortText = 100

func latest(o *orders.Order) LatestOrder {
	return LatestOrder{
		ID: o.ID, CreatedAt: isotime.Time{Time: o.CreatedAt}, CustomerName: short(o.CustomerName), ProductName: short(o.ProductName),
		Status: o.Status, Attempts: o.Attempts, CompletedAt: moment(o.CompletedAt),
	}
}

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
