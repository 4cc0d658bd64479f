package gate

import (
	"math"
	"time"
)

// ease lowers the limit, because what is called asks for patience: for so long no calls at all, and then fewer than before. recent is the
// rate that it did answer, as far as is known.
func (s State) ease(now time.Time, patience time.Duration, recent float64) State {
	before := s.PatienceUntil
	if until := now.Add(min(patience, longestPatience)); patience > 0 && until.After(s.PatienceUntil) {
		s.PatienceUntil = until
	}
	if s.Open {
		return s // it begins slowly anyway
	}
	since := now.Sub(s.Limit.At)       // negative while it is left alone
	rested := s.Limit.At.Equal(before) // the limit began when it had been left alone, as it asked
	switch {
	case !s.Limited():
		// Others may have done as much, and it may have refused all: then the rest comes quickly. Otherwise it refuses again.
		s = s.limit(max(recent*easeTo, floor), resumeGrowth, now)
	case since < 0:
	case rested && s.Rate(now)*since.Seconds() < firstCalls:
		// It refuses the first calls after that, too. Their rate is not the reason.
		s = s.limit(floor, resumeGrowth, now)
	case rested || since >= easeEvery:
		if s.resuming() {
			s.Normal, s.RatedBy = 0, nil // it says itself what is too much
		}
		s = s.limit(max(s.Rate(now)*easeTo, 1), easeGrowth, now)
	}
	if s.Limit.At.Before(s.PatienceUntil) {
		s.Limit.At = s.PatienceUntil
	}
	return s
}

// hold bounds the rate at what an outage's recovery leads to, because a consumer's handlers have become slow. What piles up meanwhile is not
// to come all at once when they are quick again.
func (s State) hold(now time.Time, rate float64) State {
	if s.Open || s.Limited() || rate <= 0 {
		return s
	}
	s.Normal, s.RatedBy = 0, nil // the consumers tell
	return s.limit(unlimited, holdGrowth, now)
}

func (s State) limit(base, growth float64, now time.Time) State {
	s.Limit = Limit{Base: base, Growth: growth, At: now}
	s.Tokens, s.TokensAt = 0, now
	return s
}

// lift ends a limit that holds nothing back.
func (s State) lift(now time.Time, short bool) State {
	if s.Open || !s.Limited() {
		return s
	}
	if s.Rate(now) < unlimited && (!short || now.Sub(s.Limit.At) < settled) {
		return s
	}
	s.Limit, s.Tokens, s.TokensAt = Limit{}, 0, time.Time{}
	s.Failures, s.Normal, s.RatedBy, s.Reason = 0, 0, nil, ""
	return s
}

// take grants as many of n messages as the limit has room for, or says how long until it has room for one.
func (s State) take(now time.Time, n int) (next State, granted int, wait time.Duration) {
	rate := s.Rate(now)
	room := max(rate*burst.Seconds(), 1)
	elapsed := max(now.Sub(s.TokensAt), 0)
	s.Tokens = min(s.Tokens+rate*min(elapsed, time.Minute).Seconds(), room)
	s.TokensAt = now
	if granted = min(n, int(math.Floor(s.Tokens))); granted > 0 {
		s.Tokens -= float64(granted)
		return s, granted, pace
	}
	return s, 0, max(time.Duration((1-s.Tokens)/rate*float64(time.Second)), pace)
}
