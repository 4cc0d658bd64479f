package gate

import "time"

// Meter knows how many orders a second one consumer works on.
type Meter struct {
	began   time.Time
	seconds [meterSeconds]struct {
		number int64 // since began
		count  int
	}
}

const (
	meterSeconds = 64
	meterSpan    = 30 // seconds that a rate is taken over,
	meterLeast   = 5  // or, at the beginning, fewer; after less time none is known
)

// Add notes that an order has been worked on.
func (m *Meter) Add(now time.Time) {
	if m.began.IsZero() {
		m.began = now
	}
	n := m.second(now)
	slot := &m.seconds[n%meterSeconds]
	if slot.number != n {
		slot.number, slot.count = n, 0
	}
	slot.count++
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
