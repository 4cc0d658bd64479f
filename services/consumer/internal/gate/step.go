package gate

import "time"

// Probe is how far a consumer's probe is.
type Probe int

// A probe that is Unused never reached a handler: there was nothing to fetch, or the message was no order. One is Answered by whatever
// shows that what the handler calls works, also by a failure that is the order's own.
const (
	ProbeNone Probe = iota
	ProbeRunning
	ProbeAnswered
	ProbeFailed
	ProbeUnused
)

func (p Probe) String() string {
	return [...]string{"none", "running", "answered", "failed", "unused"}[p]
}

// Told is what one consumer has to tell, and wants.
type Told struct {
	Who      string        // names the process
	Arrivals int64         // messages ever sent to the queue
	Rate     float64       // orders a second that it normally works on; 0: not known
	Recent   float64       // in the last second
	Trip     string        // why the breaker is to open; empty: it is not
	Eased    bool          // what its handlers call has asked for patience
	Patience time.Duration // for so long; 0: that was not said
	Slowed   bool          // its handlers have become slow: they can do far less than Rate
	Probe    Probe         // how its probe goes
	Short    bool          // it has fetched less than it was granted: nothing more is due
	Want     int           // messages that it would fetch now
}

// Answer is what it may do.
type Answer struct {
	Grant int           // messages to fetch
	Probe bool          // the one that is granted is a probe
	Wait  time.Duration // when to ask again; 0: when something changes
}

// Step is the only way in which the state changes while consumers run. now is the database's.
func (s State) Step(now time.Time, p Policy, a Told) (State, Answer) {
	s = s.sane(now, p)
	if a.Trip != "" {
		s = s.trip(now, p, a.Trip)
	}
	if a.Slowed {
		s = s.hold(now, a.Rate)
	}
	s = s.rated(a.Who, a.Rate)
	s = s.measure(now, a.Arrivals)
	if a.Eased {
		s = s.ease(now, a.Patience, a.Recent)
	}
	s = s.probed(now, p, a.Who, a.Probe)
	s = s.lift(now, a.Short)

	switch {
	case s.Paused():
		return s, Answer{Wait: ask}
	case s.Open && a.Probe == ProbeRunning:
		return s, Answer{Wait: ProbeLease / 5}
	case now.Before(s.PatienceUntil):
		return s, Answer{Wait: until(now, s.PatienceUntil)}
	case s.Open && s.probing(now):
		return s, Answer{Wait: until(now, s.ProbeUntil)}
	case s.Open && now.Before(s.ProbeAt):
		return s, Answer{Wait: until(now, s.ProbeAt)}
	case s.Open && a.Want > 0:
		return s.claim(now, p, a.Who), Answer{Grant: 1, Probe: true}
	case s.Open:
		return s, Answer{Wait: ask}
	case !s.Limited():
		return s, Answer{Grant: a.Want}
	case a.Want > 0:
		var answer Answer
		s, answer.Grant, answer.Wait = s.take(now, a.Want)
		return s, answer
	default:
		return s, Answer{Wait: ask}
	}
}

// Concerns says whether the change from before, made by Step, is one that every consumer is to know of at once.
func (s State) Concerns(before State) bool {
	return s.Open != before.Open || s.Limited() && !before.Limited() || s.PatienceUntil.After(before.PatienceUntil)
}

// until is how long to wait for a time that may come sooner after all.
func until(now, at time.Time) time.Duration { return min(max(at.Sub(now), pace), ask) }
