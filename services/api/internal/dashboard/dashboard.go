// Package dashboard is the screen at /: what an operator looks at, and the few things that he can do about it. It renders its pages with
// the data of the moment, streams what changes (GET /events), and works without a script.
//
// Everything that it shows is looked up once a second for all viewers of this process together, and not at all when nobody looks. It must
// never count a whole table, never show anything that people have written other than escaped, and never change anything for who has no
// session of an admin.
//
// The pages are in templates/ and static/; pages.go and snapshot.go say what they are given.
package dashboard

import (
	"context"
	"log/slog"
	"time"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	State() (database.State, <-chan struct{})
	Suspect()
}

// Config is what the dashboard needs.
type Config struct {
	Store   *orders.Store
	Queue   *queue.Queue
	Watcher *queue.Watcher
	Monitor Monitor
	Log     *slog.Logger

	Version    string
	MaxViewers int           // streams at a time
	Timeout    time.Duration // of what a page looks up
}

// Dashboard serves the screen. Make it with New, register its routes, and run it.
type Dashboard struct {
	cfg  Config
	feed *feed
}

// New makes a dashboard; nothing is streamed until Run.
func New(cfg Config) *Dashboard {
	return &Dashboard{cfg: cfg, feed: newFeed(cfg.MaxViewers)}
}

// lookEvery is how often the database is asked, while somebody looks.
const lookEvery = time.Second

// awayEvery is how often viewers are told that the database is away, so that a connection that is dead is noticed meanwhile.
const awayEvery = 5 * time.Second

// Run keeps the viewers informed until ctx ends. Their streams end with it, or with Drain.
func (d *Dashboard) Run(ctx context.Context) {
	defer d.feed.close()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	told := time.Time{}
	var last *Snapshot // what is shown while the database is away
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.feed.wake:
		}
		if !d.feed.watched() {
			told, last = time.Time{}, nil
			continue
		}
		snapshot, away := d.look(ctx)
		switch {
		case away == nil:
			told = time.Time{}
			last = snapshot
			d.feed.send(eventSnapshot, frame("snapshot", snapshot))
			d.feed.send(eventPage, page(d.live(ctx, snapshot, nil)))
			d.feed.send(eventSeries, frame("series", d.series()))
		case time.Since(told) >= awayEvery:
			told = time.Now()
			d.feed.send(eventAway, frame("away", away))
			d.feed.send(eventPage, page(d.live(ctx, last, away)))
		}
	}
}

// Drain ends the streams: their viewers connect anew, to somebody else.
func (d *Dashboard) Drain() { d.feed.close() }
