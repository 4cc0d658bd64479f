package dashboard

import (
	"context"
	"time"

	"orderflow.example/services/api/internal/isotime"
)

// look finds out how everything is doing, or that the database is away.
func (d *Dashboard) look(ctx context.Context) (*Snapshot, *Away) {
	if state, _ := d.cfg.Monitor.State(); !state.Up {
		return nil, &Away{Reason: state.Reason, Since: isotime.Time{Time: state.Since}}
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	q, err := d.cfg.Watcher.Get(ctx)
	if err != nil {
		d.cfg.Monitor.Suspect()
		return nil, &Away{Reason: "the database does not answer", Since: isotime.Time{Time: time.Now()}}
	}
	s := &Snapshot{
		AsOf: q.AsOf, Queue: q.Queue, AcceptedPerSecond: q.Rates.EnqueuedPerSecond, CompletedPerSecond: q.Rates.CompletedPerSecond,
		Waiting: q.Visible, InFlight: q.InFlight, Delayed: q.Delayed, OldestAgeSeconds: q.OldestAgeSeconds, DeadLetters: q.DeadLetters,
		Balance: Balance{State: "counting", Words: "No order has been looked at yet."}, Consuming: q.Consuming,
		Consumers: []Consumer{}, Doctor: Doctor{Findings: []Finding{}}, Latest: []LatestOrder{},
	}
	page, err := d.cfg.Store.List(ctx, noFilter, latestOrders, "")
	if err != nil {
		d.cfg.Monitor.Suspect()
		return nil, &Away{Reason: "the database does not answer", Since: isotime.Time{Time: time.Now()}}
	}
	for i := range page.Orders {
		s.Latest = append(s.Latest, latest(&page.Orders[i]))
	}
	return s, nil
}

func (d *Dashboard) series() *Series {
	return &Series{Minutes: emptyWindow(5), Hour: emptyWindow(60)}
}
