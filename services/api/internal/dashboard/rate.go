package dashboard

import "time"

// rateSpan is how far back rates look: long enough for reports that come once a second, short enough to be about now.
const rateSpan = 5 * time.Second

// reports remembers the last few reports of each process, and makes rates of them.
type reports struct{ of map[string][]process }

// note takes what was looked up. now is the database's time.
func (r *reports) note(processes []process, now time.Time) {
	if r.of == nil {
		r.of = map[string][]process{}
	}
	there := make(map[string]bool, len(processes))
	for _, p := range processes {
		there[p.Key] = true
		known := r.of[p.Key]
		if n := len(known); n > 0 && p.SeenAt.Before(known[n-1].SeenAt) {
			known = nil // the clock was ahead, and has been set back
		}
		if n := len(known); n == 0 || known[n-1].SeenAt.Before(p.SeenAt) {
			known = append(known, p)
		}
		// One from before the span is kept: what follows began there.
		for len(known) > 2 && known[1].SeenAt.Before(now.Add(-rateSpan)) {
			known = known[1:]
		}
		r.of[p.Key] = known
	}
	for key := range r.of {
		if !there[key] {
			delete(r.of, key)
		}
	}
}

// rate is how much a process has counted in a second, by its last reports; nil: there is only one.
func (r *reports) rate(key string, now time.Time, counter func(*process) int64) *float64 {
	known := r.of[key]
	if len(known) < 2 {
		return nil
	}
	first, last := &known[0], &known[len(known)-1]
	if last.SeenAt.Before(now.Add(-2 * rateSpan)) {
		return number(0) // it has said nothing since
	}
	n := counter(last) - counter(first)
	return number(max(0, float64(n)) / last.SeenAt.Sub(first.SeenAt).Seconds())
}

// sum is the rate of all processes together; nil: none has one.
func (r *reports) sum(now time.Time, counter func(*process) int64) *float64 {
	var sum *float64
	for key := range r.of {
		if rate := r.rate(key, now, counter); rate != nil {
			if sum == nil {
				sum = new(float64)
			}
			*sum += *rate
		}
	}
	return sum
}
