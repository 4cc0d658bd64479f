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
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	State() (database.State, <-chan struct{})
	LookNow()
}

// Host is the server that the dashboard is a part of.
type Host interface {
	// Explain says what an error means to who has asked, as a status of HTTP and in words. What of it belongs into the log, it writes there.
	Explain(c *fiber.Ctx, err error) (status int, detail string)
	// TraceID is the request's.
	TraceID(c *fiber.Ctx) string
}

// Config is what the dashboard needs.
type Config struct {
	DB       *pgxpool.Pool
	Store    *orders.Store
	Queue    *queue.Queue
	Watcher  *queue.Watcher
	Monitor  Monitor
	Accepted func() int64 // orders that this process has accepted since its start
	Log      *slog.Logger

	History *history.Reader

	Version    string
	TraceURL   string        // template of links to traces ([tracing.Link]); empty: none
	MaxViewers int           // streams at a time
	Timeout    time.Duration // of what a page looks up
}

// Dashboard serves the screen. Make it with New, register its routes, and run it.
type Dashboard struct {
	cfg      Config
	store    *store
	reporter *reporter
	looker   *looker
	feed     *feed
	host     Host

	credentials atomic.Pointer[credentials]
	throttle    *throttle
	draining    atomic.Bool
}

// New makes a dashboard; nothing is streamed until Run.
func New(cfg Config) *Dashboard {
	d := &Dashboard{
		cfg: cfg, feed: newFeed(cfg.MaxViewers), throttle: newThrottle(), reporter: newReporter(cfg.Accepted),
		store: &store{db: cfg.DB, queue: cfg.Queue, watcher: cfg.Watcher},
	}
	d.looker = &looker{store: d.store, monitor: cfg.Monitor, reporter: d.reporter, log: cfg.Log, turn: make(chan struct{}, 1)}
	d.SetTokens(nil, nil)
	return d
}

// lookEvery is how often the database is asked, while somebody looks.
const lookEvery = time.Second

// awayEvery is how often viewers are told that the database is away, so that a connection that is dead is noticed meanwhile.
const awayEvery = 5 * time.Second

// Run keeps the viewers informed, and takes samples, until ctx ends. The streams end with it, or with Drain.
func (d *Dashboard) Run(ctx context.Context) {
	var sampling sync.WaitGroup
	sampling.Go(func() { d.sample(ctx) })
	defer sampling.Wait()
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
		seen := d.look(ctx)
		switch {
		case ctx.Err() != nil:
		case seen.away == nil:
			told = time.Time{}
			d.send(ctx, eventSeries, "series", seen.series)
			last = seen.snapshot
			d.send(ctx, eventSnapshot, "snapshot", seen.snapshot)
			d.feed.send(eventPage, page(d.live(ctx, seen.snapshot, nil)))
		case time.Since(told) >= awayEvery:
			told = time.Now()
			d.send(ctx, eventAway, "away", seen.away)
			d.feed.send(eventPage, page(d.live(ctx, last, seen.away)))
		}
	}
}

// send sends an event. One that has no JSON is left out: whatever the database holds, it must not end the process.
func (d *Dashboard) send(ctx context.Context, e event, name string, data any) {
	made, err := frame(name, data)
	if err != nil {
		d.cfg.Log.ErrorContext(ctx, "viewers miss an event", "error", err)
		return
	}
	d.feed.send(e, made)
}

// look is a view of the moment, within the time that a page has.
func (d *Dashboard) look(ctx context.Context) view {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	return d.looker.get(ctx)
}

// sampleTimeout is how long a sample, and the counting that goes with it, may take.
const sampleTimeout = 10 * time.Second

// sample takes the samples, and tells what this process has accepted, until ctx ends.
func (d *Dashboard) sample(ctx context.Context) {
	s := &sampler{store: d.store, reporter: d.reporter}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	warned := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if state, _ := d.cfg.Monitor.State(); !state.Up {
			continue
		}
		err := d.sampleOnce(ctx, s)
		if err != nil && ctx.Err() == nil && time.Since(warned) > time.Minute {
			warned = time.Now()
			d.cfg.Log.WarnContext(ctx, "what the dashboard shows of the past cannot be written (further failures within a minute are not logged)", "error", err)
		}
	}
}

func (d *Dashboard) sampleOnce(ctx context.Context, s *sampler) error {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	if !d.feed.watched() {
		if err := d.store.send(ctx, d.reporter.due(time.Now())); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// Drain ends the streams: their viewers connect anew, to somebody else.
func (d *Dashboard) Drain() {
	d.draining.Store(true)
	d.feed.close()
}
