package arrivals

import (
	"context"
	"math/rand/v2"
	"time"
)

// Schedule gives the arrivals' due times one after the other. It is not safe for concurrent use: the pacer owns it.
type Schedule struct {
	profile Profile
	per     float64    // orders in one arrival
	random  *rand.Rand // nil = evenly spaced
	next    float64
}

// NewSchedule spaces arrivals evenly over the profile; each arrival carries `per` orders, so that the profile's rate is in orders.
func NewSchedule(p Profile, per int) *Schedule {
	return &Schedule{profile: p, per: float64(per)}
}

// NewPoissonSchedule draws arrivals from a Poisson process whose rate is the profile's: exponential gaps of a process with rate 1,
// stretched through the profile (time change), which is exact for a rate that changes too. The same seed gives the same times.
func NewPoissonSchedule(p Profile, per int, seed uint64) *Schedule {
	s := &Schedule{profile: p, per: float64(per), random: rand.New(rand.NewPCG(seed, 0x6f72646572666c6f))}
	s.next = s.random.ExpFloat64() * s.per
	return s
}

// Next is the offset from the start at which the next arrival is due; false when there are no more.
func (s *Schedule) Next() (time.Duration, bool) {
	at, ok := s.profile.At(s.next)
	if !ok {
		return 0, false
	}
	if s.random == nil {
		s.next += s.per
	} else {
		s.next += s.random.ExpFloat64() * s.per
	}
	return at, true
}

// Arrival is one request that is due.
type Arrival struct {
	Seq int       // 0, 1, 2 …
	Due time.Time // when it is meant to be sent; latency counts from here
}

// Pacer waits for each arrival of a schedule and hands it over when it is due.
type Pacer struct {
	Schedule *Schedule
	// Wait blocks until a moment or until the context ends; nil = WaitUntil. It is here so that tests can own the clock.
	Wait func(ctx context.Context, until time.Time) bool
}

// Run calls emit for every arrival, never before it is due, until the schedule or the context ends or emit returns false. Arrivals
// that are overdue, because emit or the machine was slow, follow without a pause, each with its own due time: nothing is
// skipped here and nothing is shifted. It returns the number of arrivals handed over.
func (p Pacer) Run(ctx context.Context, start time.Time, emit func(Arrival) bool) int {
	wait := p.Wait
	if wait == nil {
		wait = WaitUntil
	}
	now := time.Now()
	for seq := 0; ; seq++ {
		offset, ok := p.Schedule.Next()
		if !ok || ctx.Err() != nil {
			return seq
		}
		due := start.Add(offset)
		if due.After(now) {
			if !wait(ctx, due) {
				return seq
			}
			now = time.Now()
		}
		if !emit(Arrival{Seq: seq, Due: due}) {
			return seq
		}
	}
}

// timerSlack is how late the runtime's timers may be: with idle processors they are rounded up to a millisecond of epoll_wait.
// That would stand in every latency of the open model as if the server had caused it.
const timerSlack = 1500 * time.Microsecond

// WaitUntil blocks until the moment, or returns false when the context ends first. The last bit is slept in the kernel, which is
// exact to some 60 µs and costs no processor time, unlike spinning.
func WaitUntil(ctx context.Context, until time.Time) bool {
	if rest := time.Until(until); rest > 2*timerSlack {
		timer := time.NewTimer(rest - timerSlack)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	if rest := time.Until(until); rest > 0 {
		sleepExactly(rest)
	}
	return ctx.Err() == nil
}
