package measure

import "time"

// The run over time is kept in at most maxPoints points; when there would be more, two neighbours become one. So a run of a
// minute is seen in quarters of a second and one of a day in minutes, in the same memory.
const (
	firstWidth = 250 * time.Millisecond
	maxPoints  = 300
)

type series struct {
	width  time.Duration
	points []point
}

type point struct {
	Due, Sent, Accepted, Errors int64
	InFlight                    int64
	Depth                       int // highest seen; -1 = not asked
	post, completed             *Histogram
}

func (s *series) at(t time.Duration) *point {
	if s.width == 0 {
		s.width = firstWidth
	}
	t = max(t, 0)
	for int(t/s.width) >= maxPoints {
		s.halve()
	}
	i := int(t / s.width)
	for len(s.points) <= i {
		s.points = append(s.points, point{Depth: -1})
	}
	return &s.points[i]
}

func (s *series) halve() {
	half := s.points[:0]
	for i := 0; i < len(s.points); i += 2 {
		p := s.points[i]
		if i+1 < len(s.points) {
			p.add(&s.points[i+1])
		}
		half = append(half, p)
	}
	clear(s.points[len(half):])
	s.points = half
	s.width *= 2
}

func (p *point) add(q *point) {
	p.Due += q.Due
	p.Sent += q.Sent
	p.Accepted += q.Accepted
	p.Errors += q.Errors
	p.InFlight = max(p.InFlight, q.InFlight)
	p.Depth = max(p.Depth, q.Depth)
	p.post = merged(p.post, q.post)
	p.completed = merged(p.completed, q.completed)
}

func merged(a, b *Histogram) *Histogram {
	if a == nil {
		return b
	}
	if b != nil {
		a.Merge(b)
	}
	return a
}

func (p *point) record(d time.Duration) {
	if p.post == nil {
		p.post = newCoarse()
	}
	p.post.Record(d)
}

func (p *point) recordCompleted(d time.Duration) {
	if p.completed == nil {
		p.completed = newCoarse()
	}
	p.completed.Record(d)
}

func (p *point) depth(n int) { p.Depth = max(p.Depth, n) }

// Series is a run over time.
type Series struct {
	Width  time.Duration `json:"-"`
	Millis int64         `json:"width_ms"`
	Points []Point       `json:"points"`
}

// Point is one step of it. Latencies are in milliseconds and nil where nothing was measured.
type Point struct {
	At       float64  `json:"at_s"`
	Due      int64    `json:"due"`
	Sent     int64    `json:"sent"`
	Accepted int64    `json:"accepted"`
	Errors   int64    `json:"errors"`
	InFlight int64    `json:"in_flight"`
	Depth    *int     `json:"queue_depth"`
	P50      *float64 `json:"post_p50_ms"`
	P90      *float64 `json:"post_p90_ms"`
	P99      *float64 `json:"post_p99_ms"`
	Max      *float64 `json:"post_max_ms"`
	E2EP50   *float64 `json:"e2e_p50_ms"`
	E2EP99   *float64 `json:"e2e_p99_ms"`
}

// A picture of more points than shownPoints is only noise, and so is one of points with fewer than steadyCount orders each; but a few
// points there must be. The 99th percentile of fewer than steadyCount orders is but their maximum, and not shown.
const (
	shownPoints = 150
	steadyCount = 100
	fewPoints   = 24
)

func (s *series) summary() *Series {
	sent := int64(0)
	for i := range s.points {
		sent += s.points[i].Sent
	}
	for n := len(s.points); n > shownPoints || (n > 2*fewPoints && sent/int64(n) < steadyCount); n = len(s.points) {
		s.halve()
	}
	out := &Series{Width: s.width, Millis: s.width.Milliseconds(), Points: make([]Point, len(s.points))}
	for i := range s.points {
		p := &s.points[i]
		q := Point{
			At: (time.Duration(i) * s.width).Seconds(), Due: p.Due, Sent: p.Sent, Accepted: p.Accepted, Errors: p.Errors, InFlight: p.InFlight,
		}
		if depth := p.Depth; depth >= 0 {
			q.Depth = &depth
		}
		q.P50, q.P90, q.P99, q.Max = p.post.at(50), p.post.at(90), p.post.at(99), p.post.at(100)
		q.E2EP50, q.E2EP99 = p.completed.at(50), p.completed.at(99)
		if p.post.few() {
			q.P99 = nil
		}
		if p.completed.few() {
			q.E2EP99 = nil
		}
		out.Points[i] = q
	}
	return out
}

func (h *Histogram) few() bool { return h == nil || h.Count() < steadyCount }

func (h *Histogram) at(p float64) *float64 {
	if h == nil || h.Count() == 0 {
		return nil
	}
	v := ms(h.Percentile(p))
	return &v
}
