// Package faults decides what goes wrong at the receiver, on order: which fault, how often, for how long. It does nothing itself.
package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What can go wrong besides an answer with a status. The first two happen before a webhook is taken, the others when it has been.
const (
	Away  = "away"  // nobody listens
	Stall = "stall" // it is read and never answered
	Slow  = "slow"  // the answer comes late
	Drop  = "drop"  // the connection is cut instead of an answer
	Twice = "twice" // it is answered twice, each time late
)

const kinds = "away, stall, slow, drop, twice, or a status from 300 to 599"

// Late is how long an answer is held back that is late, when nobody says.
const Late = 5 * time.Second

// Fault is one that may happen to a request.
type Fault struct {
	Kind   string
	Status int           // of an answer that takes nothing; 0 for the other kinds
	Share  float64       // of the requests
	Time   time.Duration // how late, or what Retry-After says; 0: usual, or none
}

// String is the fault as Parse reads it.
func (f Fault) String() string {
	text := f.Kind
	if f.Share < 1 || f.Time > 0 {
		text += ":" + strconv.FormatFloat(100*f.Share, 'g', 6, 64) + "%"
	}
	if f.Time > 0 {
		text += ":" + f.Time.String()
	}
	return text
}

// Set are faults that are in force at the same time: each is drawn by itself, in this order. It is a setting that reads itself.
type Set []Fault

// Decode reads a list such as 503:10%:30s,slow:5%,drop. An empty one is none.
func (s *Set) Decode(list string) error {
	*s = nil
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		f, err := parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		*s = append(*s, f)
	}
	return nil
}

func parse(text string) (Fault, error) {
	kind, rest, _ := strings.Cut(text, ":")
	f := Fault{Kind: kind, Share: 1}
	switch kind {
	case Away, Stall, Slow, Drop, Twice:
	default:
		status, err := strconv.Atoi(kind)
		if err != nil || status < 300 || status > 599 {
			return f, errors.New("there are " + kinds)
		}
		f.Status = status
	}
	if rest == "" {
		return f, nil
	}
	share, late, timed := strings.Cut(rest, ":")
	percent, is := strings.CutSuffix(share, "%")
	n, err := strconv.ParseFloat(percent, 64)
	if err != nil || !is || !(n > 0 && n <= 100) {
		return f, fmt.Errorf("%q is not a share such as 10%%", share)
	}
	f.Share = n / 100
	if kind == Away && (f.Share < 1 || timed) {
		return f, errors.New("nobody can be away for some of the requests only")
	}
	if !timed {
		return f, nil
	}
	if f.Time, err = time.ParseDuration(late); err != nil || f.Time <= 0 || f.Time > time.Hour {
		return f, fmt.Errorf("%q is not a duration up to 1h", late)
	}
	return f, nil
}

// String is the set as Decode reads it.
func (s Set) String() string {
	texts := make([]string, len(s))
	for i, f := range s {
		texts[i] = f.String()
	}
	return strings.Join(texts, ",")
}

func (s Set) has(kind string) bool {
	for _, f := range s {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// Plan is what goes wrong now. It is safe for concurrent use.
type Plan struct {
	mu      sync.Mutex
	rand    *rand.Rand
	usual   Set // when nothing else is ordered for a time
	now     Set
	until   time.Time // when now ends; zero: never
	changed chan struct{}
	clock   func() time.Time
}

// NewPlan begins with a set, for so long (0: for ever); after that nothing goes wrong. The same seed draws the same faults.
func NewPlan(s Set, length time.Duration, seed uint64) *Plan {
	p := &Plan{rand: rand.New(rand.NewPCG(seed, seed)), changed: make(chan struct{}), clock: time.Now} //nolint:gosec // repeatable on purpose
	p.Order(s, length)
	return p
}

// Order changes what goes wrong: from now on, or for a time, after which it is as before.
func (p *Plan) Order(s Set, length time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.until = s, time.Time{}
	if length > 0 {
		p.until = p.clock().Add(length)
	} else {
		p.usual = s
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// current ends what was for a time. The lock is held.
func (p *Plan) current() Set {
	if !p.until.IsZero() && !p.clock().Before(p.until) {
		p.now, p.until = p.usual, time.Time{}
	}
	return p.now
}

// Now are the faults in force, and for how much longer (0: until somebody orders otherwise).
func (p *Plan) Now() (Set, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.current()
	if p.until.IsZero() {
		return s, 0
	}
	return s, p.until.Sub(p.clock())
}

// Away says whether nobody listens now, when that ends by itself (0: never), and what is closed when anything is ordered.
func (p *Plan) Away() (away bool, left time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	away = p.current().has(Away)
	if !p.until.IsZero() {
		left = p.until.Sub(p.clock())
	}
	return away, left, p.changed
}

// Draw is what happens to one request: at most one fault that keeps it from being taken, and any of the others.
type Draw struct {
	Refuse *Fault // instead of taking it: a status, or Stall
	Late   time.Duration
	Drop   bool
	Twice  bool
}

// Draw draws for one request.
func (p *Plan) Draw() Draw {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d Draw
	set := p.current()
	for i := range set {
		f := set[i]
		if f.Share < 1 && p.rand.Float64() >= f.Share {
			continue
		}
		switch f.Kind {
		case Away:
		case Slow:
			d.Late += late(f)
		case Drop:
			d.Drop = true
		case Twice:
			d.Twice = true
			d.Late += late(f)
		default:
			if d.Refuse == nil {
				d.Refuse = &f
			}
		}
	}
	return d
}

func late(f Fault) time.Duration {
	if f.Time > 0 {
		return f.Time
	}
	return Late
}
