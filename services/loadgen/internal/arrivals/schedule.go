package arrivals

import (
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
