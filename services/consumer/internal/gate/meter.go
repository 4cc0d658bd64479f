package gate

import "time"

// Meter knows how many orders a second one consumer works on.
type Meter struct {
	began   time.Time
	seconds [meterSeconds]struct {
		number int64 // since began
		count  int
		spent  time.Duration // on these orders, all together
	}
}

const (
	meterSeconds = 64
	meterSpan    = 30 // seconds that a rate is taken over,
	meterLeast   = 5  // or, at the beginning, fewer; after less time none is known
)

// slowest is the share of the normal rate that handlers which are slow can do at most.
const slowest = 0.5

// Add notes that an order has been worked on, and for how long.
func (m *Meter) Add(now time.Time, took time.Duration) {
	if m.began.IsZero() {
		m.began = now
	}
	n := m.second(now)
	slot := &m.seconds[n%meterSeconds]
	if slot.number != n {
		slot.number, slot.count, slot.spent = n, 0, 0
	}
	slot.count++
	slot.spent += took
}

func (m *Meter) second(now time.Time) int64 { return max(int64(now.Sub(m.began)/time.Second), 0) }

func (m *Meter) counted(n int64) int {
	if slot := m.seconds[((n%meterSeconds)+meterSeconds)%meterSeconds]; n >= 0 && slot.number == n {
		return slot.count
	}
	return 0
}

// Rate is what it did in the best half of the last minute. A shorter time would take for normal what is chance, and the more consumers add
// theirs up, the more.
func (m *Meter) Rate(now time.Time) float64 {
	if m.began.IsZero() {
		return 0
	}
	last := m.second(now)
	if last < meterLeast {
		return 0
	}
	best := 0.0
	for end := last; end > last-meterSeconds+meterSpan && end >= 0; end-- {
		count, span := 0, min(max(end+1, meterLeast), meterSpan)
		for n := end; n > end-span; n-- {
			count += m.counted(n)
		}
		best = max(best, float64(count)/float64(span))
	}
	return best
}

// Recent is what it did in about the last second.
func (m *Meter) Recent(now time.Time) float64 {
	if m.began.IsZero() {
		return 0
	}
	last := m.second(now)
	share := max(now.Sub(m.began)-time.Duration(last)*time.Second, 0).Seconds()
	return (float64(m.counted(last)) + float64(m.counted(last-1))) / (1 + share)
}

// Slowed says whether orders take so long of late that so many workers can do no more than half of what is normal. It goes by how long they
// take and not by how many are done: slow answers come in bursts.
func (m *Meter) Slowed(now time.Time, normal float64, workers int) bool {
	if m.began.IsZero() || normal <= 0 {
		return false
	}
	var count int
	var spent time.Duration
	for last, n := m.second(now), int64(0); n < 2; n++ {
		if c := m.counted(last - n); c > 0 {
			count += c
			spent += m.seconds[(last-n)%meterSeconds].spent
		}
	}
	return float64(workers*count) < slowest*normal*spent.Seconds()
}
