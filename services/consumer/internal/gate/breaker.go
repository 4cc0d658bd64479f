package gate

import "time"

// trip opens the breaker. One that opens again before the last outage's backlog is worked off knows what is normal from before, and what was
// too much.
func (s State) trip(now time.Time, p Policy, reason string) State {
	if s.Open {
		return s
	}
	switch rate := s.Rate(now); {
	case !s.Limited():
		s.Failures, s.Normal, s.RatedBy = 0, 0, nil
	case !s.holding():
		s.Failures++
		if rate > max(s.most(), floor) {
			s.Normal = max(s.Normal, rate*easeTo/catchUp)
		}
	}
	s.Open, s.Since, s.Reason = true, now, reason
	s.Limit, s.Tokens, s.TokensAt = Limit{}, 0, time.Time{}
	s.Prober, s.ProbeUntil = "", time.Time{}
	s.ProbeAt = now.Add(p.interval(s.Failures))
	return s
}

// interval is the wait before a probe, after so many that have failed.
func (p Policy) interval(failures int) time.Duration {
	d := p.ProbeFirst
	for range min(failures, 64) {
		if d *= 2; d >= p.ProbeMost {
			break
		}
	}
	return min(d, p.ProbeMost)
}

// probing says whether somebody has the right to probe.
func (s State) probing(now time.Time) bool { return s.Prober != "" && now.Before(s.ProbeUntil) }

// claim gives the right to probe. The next probe's time counts from this one's beginning, since a probe may take long.
func (s State) claim(now time.Time, p Policy, who string) State {
	if s.Prober != "" { // whose lease has run out: its consumer has died, perhaps by this probe
		s.Failures++
	}
	s.Prober, s.ProbeUntil = who, now.Add(ProbeLease)
	s.ProbeAt = now.Add(p.interval(s.Failures + 1))
	return s
}

// probed notes how a probe of ours went. One that is not ours any more says nothing.
func (s State) probed(now time.Time, p Policy, who string, result Probe) State {
	if !s.Open || s.Prober != who {
		return s
	}
	switch result {
	case ProbeRunning:
		s.ProbeUntil = now.Add(ProbeLease)
		return s
	case ProbeAnswered:
		return s.recover(now)
	case ProbeFailed:
		s.Failures++
		if earliest := now.Add(p.ProbeFirst); s.ProbeAt.Before(earliest) {
			s.ProbeAt = earliest
		}
	case ProbeUnused:
		s.ProbeAt = now
	default:
		return s
	}
	s.Prober, s.ProbeUntil = "", time.Time{}
	return s
}

// recover closes the breaker and begins slowly. What is not known to be normal is found out by doubling.
func (s State) recover(now time.Time) State {
	s.Open, s.Since = false, now
	s.Prober, s.ProbeUntil, s.ProbeAt = "", time.Time{}, time.Time{}
	s.Limit = Limit{Base: floor, Growth: rampGrowth, At: now}
	if s.Normal > 0 {
		s.Limit.Base = max(s.most()*rampFrom, 1)
	}
	s.Tokens, s.TokensAt = 0, now
	return s
}
