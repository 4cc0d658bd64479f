package gate

import (
	"math"
	"time"
)

// ease lowers the limit, because what is called asks for patience: for so long no calls at all, and then fewer than before. recent is the
// rate that it did answer, as far as is known.
func (s State) ease(now time.Time, patience time.Duration, recent float64) State {
	if until := now.Add(min(patience, longestPatience)); patience > 0 && until.After(s.PatienceUntil) {
		s.PatienceUntil = until
	}
	if s.Open {
		return s // it begins slowly anyway
	}
	rate := recent
	if s.Limited() {
		if now.Sub(s.Limit.At) < easeEvery { // At may be ahead, at the end of the patience
			return s
		}
		rate = s.Rate(now)
	}
	s.Limit = Limit{Base: max(rate*easeTo, 1), Growth: easeGrowth, At: now}
	if s.PatienceUntil.After(now) {
		s.Limit.At = s.PatienceUntil
	}
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
