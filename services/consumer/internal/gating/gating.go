// Package gating owns this consumer's part in the queue's gate, which all its consumers share: it hears how attempts end, opens the breaker,
// and gives the fetcher permits. The rules are package gate's, and what all consumers know together is a row of package queue's. It must never let an
// attempt begin while the gate is shut, but a probe's, and never keep anything but the fetcher waiting for the database.
package gating

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode"

	"orderflow.example/services/consumer/internal/ending"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/signal"
)

// Breaker is when the breaker opens and how it is probed whether it may close; see package gate.
type Breaker struct {
	Share      float64       // of the attempts that find what they call unavailable: with more than this it opens; 0: never
	Least      int           // attempts that it takes
	ProbeFirst time.Duration // between the opening and the first probe
	ProbeMost  time.Duration // between two probes
}

// Settings are what the gate is to know of this consumer.
type Settings struct {
	ID             string
	Concurrency    int
	HandlerTimeout time.Duration
	Grace          time.Duration // that a handler gets beyond its timeout
	Breaker        Breaker
}

// window is for how long results count: long enough that as many as it takes to open can come in, however few are at work.
func (s Settings) window() time.Duration {
	return max(time.Minute, 2*time.Duration(s.Breaker.Least)*s.HandlerTimeout/time.Duration(s.Concurrency))
}

// Gate is the queue's gate as this consumer knows it. The workers tell it how attempts end; the fetcher, and nobody else, exchanges that
// with the database before it fetches. While the gate stands open wide and there is nothing to tell, that costs no statement: the poller's look
// shows when somebody else has changed it, and a notification does so at once.
type Gate struct {
	who         string // names this process, as nothing else does
	policy      gate.Policy
	workers     int
	longest     time.Duration // that a probe can take: its handler, and its ack work
	log         *slog.Logger
	metrics     *metrics.Metrics
	updates     *health.Statements
	lockedSince time.Time     // somebody keeps the row locked; the fetcher's
	changed     signal.Signal // to the fetcher: there is something to tell or to hear

	mu       sync.Mutex
	window   *gate.Window
	begun    int64             // attempts, in all
	running  map[*Ticket]int64 // those that go on: each with its number
	meter    gate.Meter        // of what is normal,
	answered gate.Meter        // and of all that is answered
	judgedAt int64             // the second in which it was last looked whether the handlers have become slow
	known    gate.State        // as last heard
	revision int64
	heard    time.Time // when, on our clock,
	database time.Time // and on the database's
	epoch    int       // counts the times that the breaker opened or closed
	stale    bool      // what is known may not hold any more
	askAt    time.Time // when to ask again; zero: when something changes
	deadTill time.Time // the row cannot be used until then; what is known is this consumer's own
	own      own       // the breaker of this consumer alone

	news     bool // any of the following is to be told
	trip     string
	eased    bool
	patience time.Duration
	slowed   bool
	short    bool
	probe    gate.Probe
	probing  *Ticket   // that a worker has or will have; nil while it is read
	began    time.Time // the probe
	idle     bool      // the last probe found nothing to probe with
}

// New knows nothing of the gate yet: the first permit asks for it.
func New(s Settings, log *slog.Logger, m *metrics.Metrics) *Gate {
	return &Gate{
		who:     fmt.Sprintf("%s/%08x", ascii(s.ID), rand.Uint32()), // CONSUMER_ID may be given twice
		workers: s.Concurrency,
		policy:  gate.Policy{ProbeFirst: s.Breaker.ProbeFirst, ProbeMost: s.Breaker.ProbeMost},
		longest: 2*s.HandlerTimeout + s.Grace + gate.ProbeLease,
		log:     log, metrics: m,
		changed: signal.New(),
		updates: health.NewStatements("updates of the shared breaker", log),
		running: map[*Ticket]int64{},
		window:  gate.NewWindow(s.Breaker.Share, s.Breaker.Least, s.Concurrency, s.window()),
		stale:   true, // it may be closed
	}
}

// ascii is a text that databases of every encoding give back as it was: whether the right to probe is ours is seen by it.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}

// Changed signals the fetcher that there is something to tell or to hear.
func (g *Gate) Changed() <-chan struct{} { return g.changed }

// Refused says why the database does not let this consumer share the gate; empty when it does.
func (g *Gate) Refused() string { return g.updates.Refused() }

// shutLocked says whether no attempt may begin, but a probe's.
func (g *Gate) shutLocked() bool { return g.openLocked() || g.known.Paused() }

func (g *Gate) openLocked() bool { return g.known.Open || g.trip != "" || g.own.Open }

// Refresh says that somebody may have changed the gate. revision is the row's, or -1 when that is not known.
func (g *Gate) Refresh(revision int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if revision == g.revision && revision >= 0 || time.Now().Before(g.deadTill) {
		return
	}
	g.stale = true
	g.changed.Send()
}

// Starts notes that a handler is about to be given a delivery. It says false when it must not be: the gate has been shut meanwhile.
func (g *Gate) Starts(t *Ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.epoch = g.epoch
	if !t.probe && g.shutLocked() {
		return false
	}
	g.begun++
	g.running[t] = g.begun
	return true
}

// Returned notes that the handler of a delivery has returned, or was never called after all.
func (g *Gate) Returned(t *Ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, t)
}

// slowerLocked counts the attempts that were begun before t's and go on.
func (g *Gate) slowerLocked(t *Ticket) (n int) {
	number, runs := g.running[t]
	for _, other := range g.running {
		if runs && other < number {
			n++
		}
	}
	return n
}

// AttemptEnded hears how an attempt has ended, and what that says about what the handler calls. It returns r, with Uncounted set for a failure that
// belongs to an outage. Package settle has every attempt pass here before it is decided how its delivery ends.
func (g *Gate) AttemptEnded(t *Ticket, r ending.Returned) ending.Returned {
	result, says := r.Says()
	if !says {
		g.Unused(t)
		return r
	}
	r.Uncounted = !g.ended(t, result, r.Took, r.Err)
	if result == gate.Throttled {
		g.ease(r.Err)
	}
	return r
}

// ended notes how an attempt ended, once, and says whether it counts: what fails in an outage does not. took is how long it has occupied a worker.
func (g *Gate) ended(t *Ticket, r gate.Result, took time.Duration, problem error) (counts bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.reported {
		return true
	}
	t.reported = true
	now := time.Now()
	if t.probe {
		g.resolveLocked(t, map[bool]gate.Probe{true: gate.ProbeAnswered, false: gate.ProbeFailed}[r == gate.Answered])
	}
	old := t.epoch != g.epoch
	if r == gate.Answered && !old && !g.openLocked() {
		g.own.disproved = false
		g.answered.Add(now, took)
		if !g.known.Limited() {
			g.meter.Add(now, took)
			g.noteSlownessLocked(now)
		}
	}
	slower := 0
	if r != gate.Answered {
		slower = g.slowerLocked(t)
	}
	if !old && !g.openLocked() && g.window.Add(now, t.message, r, slower) {
		g.tripLocked(now, problem.Error())
	}
	outage := g.openLocked() || r == gate.Unavailable && (old || g.known.Recovering(g.nowLocked()))
	return !outage
}

// noteSlownessLocked notes when the handlers have become slow: all workers are occupied, and can do far less than is normal. Then much piles
// up, and is not to come all at once when they are quick again. It looks once a second.
func (g *Gate) noteSlownessLocked(now time.Time) {
	if second := now.Unix(); second == g.judgedAt || len(g.running) < g.workers {
		return
	} else if g.judgedAt = second; g.answered.Slowed(now, g.meter.Rate(now), g.workers) {
		g.slowed, g.news = true, true
		g.changed.Send()
	}
}

// ease notes that what is called asks for patience.
func (g *Gate) ease(asked error) {
	patience, _ := handler.AsksForPatience(asked)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.eased, g.news, g.patience = true, true, max(g.patience, patience)
	g.changed.Send()
}

// Unused notes that a delivery will reach no handler.
func (g *Gate) Unused(t *Ticket) {
	if !t.probe {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resolveLocked(t, gate.ProbeUnused)
}

func (g *Gate) resolveLocked(t *Ticket, result gate.Probe) {
	if g.probe == gate.ProbeRunning && g.probing == t {
		g.probe, g.probing, g.news = result, nil, true
		g.changed.Send()
	}
}

// nowLocked is the database's time, about.
func (g *Gate) nowLocked() time.Time { return g.database.Add(time.Since(g.heard)) }

// report logs and counts what has changed.
func (g *Gate) report(before, next gate.State, told gate.Told) {
	rate := next.Rate(g.database)
	g.metrics.BreakerOpen.Set(number(next.Open))
	g.metrics.Paused.Set(number(next.Paused()))
	g.metrics.RateLimit.Set(map[bool]float64{true: rate}[next.Limited()])
	switch {
	case next.Open && (!before.Open || !next.Since.Equal(before.Since)):
		g.metrics.Openings.Inc()
		g.log.Warn("the breaker is open: what the handler calls is unavailable; fetching only one probe at a time",
			"opened_by_us", told.Trip != "", "error", next.Reason, "orders_per_second_before", math.Round(next.Normal))
	case told.Probe == gate.ProbeFailed && next.Open:
		g.log.Info("the probe has failed, the breaker stays open", "failures", next.Failures, "next_in", next.ProbeAt.Sub(g.database).Round(time.Millisecond).String())
	case !next.Open && before.Open:
		g.log.Info("the breaker is closed: what the handler calls works again; starting slowly", "orders_per_second_before", math.Round(next.Normal))
	}
	switch {
	case next.Open || before.Open:
	case next.Limited() && !before.Limited() && told.Slowed:
		g.log.Warn("the handlers have become slow: what piles up meanwhile will be fetched at a limited rate", "orders_per_second", math.Round(rate))
	case next.Limited() && !before.Limited():
		g.log.Info("orders are fetched at a limited rate", "orders_per_second", math.Round(rate),
			"no_calls_for", max(next.PatienceUntil.Sub(g.database), 0).Round(time.Millisecond).String())
	case !next.Limited() && before.Limited():
		g.log.Info("the limit is lifted: there is no backlog")
	}
	switch {
	case next.Paused() && !before.Paused():
		g.log.Warn("consuming is paused: nothing is fetched until `consumer resume` or POST /queue/resume", "by", next.PausedBy, "reason", next.PauseReason,
			"since", next.PausedAt.UTC().Format(time.RFC3339))
	case !next.Paused() && before.Paused():
		g.log.Info("consuming is resumed")
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Status says in words what keeps the consumer from fetching as it likes; empty when nothing does.
func (g *Gate) Status() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own.Open {
		return "the breaker of this consumer alone is open since " + g.own.Since.UTC().Format(time.RFC3339) +
			", because what the handler calls is unavailable to it, and not to others: " + g.own.Reason
	}
	return g.known.Describe(g.nowLocked())
}
