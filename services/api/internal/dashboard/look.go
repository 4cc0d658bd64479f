package dashboard

import (
	"context"
	"log/slog"
	"time"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
)

// view is what is shown at a moment: of everything, or that the database is away.
type view struct {
	snapshot *Snapshot
	series   *Series
	away     *Away
}

// looker looks for all: once a second at most, however many ask.
type looker struct {
	store    *store
	monitor  Monitor
	reporter *reporter
	log      *slog.Logger

	turn    chan struct{} // of the one who looks: who comes meanwhile has the same view. It guards what follows
	taken   time.Time
	view    view
	reports reports
	past    past
	warned  time.Time // when the log was last told why nothing can be shown
}

// fresh is how old a view may be that is shown once more.
const fresh = 900 * time.Millisecond

// get is a view that is at most about a second old.
func (l *looker) get(ctx context.Context) view {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return view{away: &Away{Reason: "the database does not answer in time", Since: isotime.Time{Time: time.Now()}}}
	}
	if state, _ := l.monitor.State(); !state.Up {
		l.taken = time.Time{}
		return view{away: &Away{Reason: state.Reason, Since: isotime.Time{Time: state.Since}}}
	}
	if time.Since(l.taken) < fresh {
		return l.view
	}
	began := time.Now()
	found, err := l.store.look(ctx, l.past.last(), l.reporter.due(began))
	if err != nil {
		if ctx.Err() == nil || database.Away(err) {
			l.monitor.LookNow()
		}
		l.note(ctx, err)
		reason := "the database does not answer"
		if r := database.Reason(err); r != "" {
			reason = r
		}
		return view{away: &Away{Reason: reason, Since: isotime.Time{Time: began}}}
	}
	l.view, l.taken = l.make(found), began
	return l.view
}

// note logs why nothing can be shown, unless the database is merely away, which others say.
func (l *looker) note(ctx context.Context, err error) {
	if database.Away(err) && database.Classify(err) != database.Unready || time.Since(l.warned) < time.Minute {
		l.log.DebugContext(ctx, "the dashboard cannot be shown", "error", err)
		return
	}
	l.warned = time.Now()
	l.log.WarnContext(ctx, "the dashboard cannot be shown (further failures within a minute are not logged)", "error", err)
}

// forget makes the next look a new one: something has been changed here.
func (l *looker) forget() {
	l.turn <- struct{}{}
	l.taken = time.Time{}
	<-l.turn
}

// make makes a view of what was found.
func (l *looker) make(found *seen) view {
	l.reports.note(found.processes, found.now)
	if l.past == nil {
		l.past = past{}
	}
	l.past.add(found.samples, found.now)
	q := &found.figures
	s := &Snapshot{
		AsOf: isotime.Time{Time: found.now}, Queue: q.Queue,
		AcceptedPerSecond: l.reports.sum(found.now, accepted), CompletedPerSecond: l.reports.sum(found.now, completed), RetriesPerSecond: l.reports.sum(found.now, retried),
		Waiting: q.Visible, InFlight: q.InFlight, Delayed: q.Delayed, OldestAgeSeconds: rounded(q.OldestAgeSeconds), DeadLetters: q.DeadLetters,
		Balance: found.counts.balance(found.now), Consuming: found.consuming, Consumers: l.reports.consumers(found.processes, found.now),
		Doctor: doctor(&found.findings), Latest: []LatestOrder{},
	}
	for i := range found.latest {
		s.Latest = append(s.Latest, found.latest[i].shown())
	}
	series := &Series{Minutes: l.past.window(found.now, 1), Hour: l.past.window(found.now, 60/sampleStep)}
	return view{snapshot: s, series: series}
}

// doctor is what the doctor found, in the form and to the length that it may have.
func doctor(f *findings) Doctor {
	const most = 50
	d := Doctor{At: moment(f.at), By: f.by, Stale: f.stale, Findings: []Finding{}}
	d.Findings = append(d.Findings, f.list[:min(most, len(f.list))]...)
	return d
}
