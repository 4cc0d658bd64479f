// Package gate owns the rules by which all consumers of a queue answer one question alike: may messages be fetched now, and how many?
// An operator's pause says no. So does the breaker, which opens when what the handlers call is down, and then lets one order at a time
// through, as a probe. After that, and when what is called asks for patience, a limit keeps the rate down.
//
// The shared state is one row of the database. Its times are the database's, and whoever changes it does so by Step, a pure function.
// What only concerns one consumer, the results of its own attempts, is a Window and a Meter.
//
// The package must never wait, look at a clock, or talk to anybody.
package gate

import (
	"math"
	"slices"
	"time"
)

// State is what the consumers of a queue share. The zero State is a gate that stands open wide: a queue without a row.
type State struct {
	PausedAt    time.Time // by an operator; zero: not paused. Step leaves the pause as it is
	PausedBy    string
	PauseReason string // as the operator gave it; may be empty

	Open       bool      // the breaker: what the handlers call is down
	Since      time.Time // when it opened or closed last
	Reason     string    // why it opened last; empty when all is well again
	Failures   int       // probes that failed in a row, and openings during a recovery: the next probe comes the later
	ProbeAt    time.Time // the next probe comes no earlier
	Prober     string    // the consumer that probes; empty: nobody
	ProbeUntil time.Time // the right to probe lasts until then, unless it is extended

	// Orders a second before the outage: what the consumers did, each added once, or what arrived, whichever is more. 0: not known.
	Normal  float64
	RatedBy []string // consumers whose rates Normal has

	Arrivals  int64     // messages that had ever been sent at ArrivedAt
	ArrivedAt time.Time // zero: nothing is measured

	Limit    Limit
	Tokens   float64 // messages that may be fetched at TokensAt
	TokensAt time.Time

	PatienceUntil time.Time // what is called has asked for no calls until then
}

// Limit is a rate that grows: Base orders a second at At, Growth times as many with each second. The zero Limit is none.
type Limit struct {
	Base   float64
	Growth float64
	At     time.Time
}

// Policy is how often an open breaker is probed.
type Policy struct {
	ProbeFirst time.Duration // between the opening and the first probe; doubled with each that fails
	ProbeMost  time.Duration // and never more than this
}

const (
	// ProbeLease is how long the right to probe outlasts its holder's last sign of life.
	ProbeLease = 5 * time.Second
	// catchUp times the normal rate is the most that is sent while the backlog of an outage is worked off. Rates are measured over ten
	// seconds and vary, hence less than the 2 that nobody is to see.
	catchUp = 1.5
	// floor is the rate in orders a second that anybody is trusted with.
	floor = 10.0
	// A recovery begins with a sixteenth of what it leads to, and is there after three seconds.
	rampFrom, rampGrowth = 1.0 / 16, 2.5
	// What asks for patience gets less, and then twice as much with each second; beyond what an outage's recovery leads to, more by an
	// eightieth of that. When it asks again meanwhile it gets less, and then more by a tenth each second until the next time.
	easeTo, resumeGrowth, creep, easeGrowth = 0.7, 2.0, 0.0125, 1.1
	// holdGrowth marks the limit of handlers that have become slow. It does not grow.
	holdGrowth = 1.0
	// A recovery goes on to twice as much in such a time where nobody has measured what is normal: where that is only what arrives, and where
	// it was quiet before, which says nothing of what can be done.
	doubling, quietDoubling = 10 * time.Second, 2 * time.Second
	// easeEvery is how often the limit is lowered at most: one refusal comes with many others of the same moment.
	easeEvery = time.Second
	// firstCalls is how many calls may be under way before the first of them is answered.
	firstCalls = 10
	// settled is how old a limit has to be before it is lifted for want of work.
	settled = 10 * time.Second
	// unlimited is a rate that needs no limit.
	unlimited = 100_000.0
	// longestPatience bounds what one answer can ask of all workers together. The order that it is about waits as long as it was told.
	longestPatience = 10 * time.Minute
	// rating is how long arrivals are counted for a rate.
	rating = 10 * time.Second
	// burst is how much of a limit may come at once.
	burst = 100 * time.Millisecond
	// ask is how often a consumer that may not fetch looks again, whoever tells it to; pace is how often one that has a limit does.
	ask, pace = time.Second, 50 * time.Millisecond
	// mostRates bounds how many consumers' rates are added up.
	mostRates = 1000
)

// Paused says whether an operator has stopped the queue.
func (s State) Paused() bool { return !s.PausedAt.IsZero() }

// Limited says whether there is a limit.
func (s State) Limited() bool { return s.Limit.Base > 0 }

// Recovering says whether an outage has ended so recently that failures are still counted as part of it.
func (s State) Recovering(now time.Time) bool {
	return !s.Open && s.Limited() && s.Limit.Growth == rampGrowth && now.Sub(s.Since) < settled
}

// Rate is the limit now, in orders a second; infinite without one.
func (s State) Rate(now time.Time) float64 {
	if !s.Limited() {
		return math.Inf(1)
	}
	seconds := min(max(now.Sub(s.Limit.At), 0), 5*time.Minute).Seconds()
	rate, most := s.Limit.Base*math.Pow(s.Limit.Growth, seconds), s.most()
	if s.Normal <= 0 || rate <= most {
		return rate
	}
	switch {
	case s.resuming():
		return most * (1 + creep*s.beyond(seconds))
	case s.holding(), len(s.RatedBy) > 0 && s.Normal >= floor:
		return most
	case s.Normal >= floor:
		return min(most*math.Exp2(s.beyond(seconds)/doubling.Seconds()), unlimited)
	default:
		return min(most*math.Exp2(s.beyond(seconds)/quietDoubling.Seconds()), unlimited)
	}
}

// beyond is for how many of the seconds since its begin the limit has been what it led to.
func (s State) beyond(seconds float64) float64 {
	return max(seconds-math.Log(s.most()/s.Limit.Base)/math.Log(s.Limit.Growth), 0)
}

// resuming says whether the limit is of what has asked for patience, and has not refused anything since for being too much.
func (s State) resuming() bool { return s.Limited() && s.Limit.Growth == resumeGrowth }

// holding says whether the limit is of handlers that have become slow.
func (s State) holding() bool { return s.Limited() && s.Limit.Growth == holdGrowth }

// most is what a recovery leads to.
func (s State) most() float64 { return catchUp * max(s.Normal, floor) }

// sane is the state without what no consumer can have written: by somebody's hand, or because the database's clock has gone back, as it may
// with a failover. Nothing in it can stop the consumers for longer than the rules would.
func (s State) sane(now time.Time, p Policy) State {
	for _, past := range []*time.Time{&s.Since, &s.ArrivedAt, &s.TokensAt} {
		if past.After(now) {
			*past = now
		}
	}
	for _, soon := range []struct {
		at   *time.Time
		most time.Duration
	}{{&s.ProbeAt, p.ProbeMost}, {&s.ProbeUntil, ProbeLease}, {&s.PatienceUntil, longestPatience}} {
		if latest := now.Add(soon.most); soon.at.After(latest) {
			*soon.at = latest
		}
	}
	latest := now // that a limit begins: or when patience ends
	if s.PatienceUntil.After(now) {
		latest = s.PatienceUntil
	}
	if s.Limit.At.After(latest) {
		s.Limit.At = latest
	}
	for _, number := range []*float64{&s.Normal, &s.Limit.Base, &s.Limit.Growth, &s.Tokens} {
		if math.IsNaN(*number) || *number < 0 {
			*number = 0
		}
		*number = min(*number, 10*unlimited)
	}
	if s.Limited() {
		s.Limit.Growth = min(max(s.Limit.Growth, holdGrowth), rampGrowth)
		s.Limit.Base = max(s.Limit.Base, 1)
	}
	s.Failures = min(max(s.Failures, 0), 1000)
	if len(s.RatedBy) > mostRates {
		s.RatedBy = s.RatedBy[:mostRates]
	}
	return s
}

// measure notes how many messages arrive while what is normal has to be known.
func (s State) measure(now time.Time, arrivals int64) State {
	switch elapsed := now.Sub(s.ArrivedAt); {
	case !s.Open && !s.Limited():
		s.Arrivals, s.ArrivedAt = 0, time.Time{}
		return s
	case s.ArrivedAt.IsZero(), arrivals < s.Arrivals:
	case elapsed < rating:
		return s
	case s.Open || s.Normal >= floor || s.resuming():
		// Otherwise what asks for patience says itself what is too much, and a recovery that goes on until something does is not held up.
		s.Normal = max(s.Normal, min(float64(arrivals-s.Arrivals)/elapsed.Seconds(), unlimited))
	}
	s.Arrivals, s.ArrivedAt = arrivals, now
	return s
}

// rated adds a consumer's own rate to what is normal, once for each outage.
func (s State) rated(by string, rate float64) State {
	if (s.Open || s.resuming() || s.holding()) && rate > 0 && len(s.RatedBy) < mostRates && !slices.Contains(s.RatedBy, by) {
		s.Normal += rate
		s.RatedBy = append(slices.Clone(s.RatedBy), by)
	}
	return s
}
