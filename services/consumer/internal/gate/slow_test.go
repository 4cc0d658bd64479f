package gate

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// serving is a queue with a steady load, consumers with so many workers each, and a receiver that takes its time. Time is imagined.
type serving struct {
	now       time.Time
	row       State
	takes     time.Duration // what a call that begins now takes
	consumers []*server
	backlog   float64
	begun     map[int]int // calls in each second since noon
	limited   int         // times that a limit began
}

// server is one consumer: when each of its workers is free again, and what it has measured.
type server struct {
	name     string
	began    []time.Time
	free     []time.Time
	done     Meter // what is normal,
	answered Meter // and all
	checked  int64
	slowed   bool
	short    bool
}

func newServing(consumers, workers int) *serving {
	s := &serving{now: noon, takes: 50 * time.Millisecond, begun: map[int]int{}}
	for i := range consumers {
		s.consumers = append(s.consumers, &server{name: fmt.Sprint("consumer ", i), began: make([]time.Time, workers), free: make([]time.Time, workers)})
	}
	return s
}

// run lets some seconds pass, in which so many orders arrive in each.
func (s *serving) run(seconds, rate float64) {
	const step = 10 * time.Millisecond
	for end := s.now.Add(time.Duration(seconds * float64(time.Second))); s.now.Before(end); {
		s.now = s.now.Add(step)
		s.backlog += rate * step.Seconds()
		for _, c := range s.consumers {
			s.turn(c)
		}
	}
}

func (s *serving) turn(c *server) {
	idle := 0
	for i, free := range c.free {
		switch {
		case free.IsZero():
			idle++
		case !free.After(s.now):
			took := free.Sub(c.began[i])
			c.answered.Add(s.now, took)
			if !s.row.Limited() {
				c.done.Add(s.now, took)
			}
			if second := s.now.Unix(); second != c.checked && idle == 0 {
				c.checked = second
				c.slowed = c.slowed || c.answered.Slowed(s.now, c.done.Rate(s.now), len(c.free))
			}
			c.free[i] = time.Time{}
			idle++
		}
	}
	if idle == 0 {
		return
	}
	before := s.row.Limited()
	ask := Told{Who: c.name, Slowed: c.slowed, Short: c.short, Want: idle}
	if c.slowed || before && !slices.Contains(s.row.RatedBy, c.name) { // it costs something to know
		ask.Rate = c.done.Rate(s.now)
	}
	var answer Answer
	s.row, answer = s.row.Step(s.now, policy, ask)
	c.slowed = false
	if s.row.Limited() && !before {
		s.limited++
	}
	c.short = s.backlog < float64(answer.Grant)
	for i := range c.free {
		if answer.Grant == 0 || s.backlog < 1 {
			break
		}
		if c.free[i].IsZero() {
			c.began[i], c.free[i] = s.now, s.now.Add(s.takes)
			s.begun[int(s.now.Sub(noon).Seconds())]++
			s.backlog--
			answer.Grant--
		}
	}
}

// A receiver that was slow is not overrun by what has piled up: nobody calls it more than twice as often as is normal.
func TestAfterASlowTimeThereIsNoStampede(t *testing.T) {
	t.Parallel()
	const rate, well, workers = 200, 30, 200
	for _, consumers := range []int{1, 2, 10} {
		for _, slow := range []struct {
			takes time.Duration
			lasts float64
		}{{5 * time.Second, 20}, {5 * time.Second, 300}, {3 * time.Second, 30}} {
			t.Run(fmt.Sprintf("%d consumers, %s for %.0f s", consumers, slow.takes, slow.lasts), func(t *testing.T) {
				t.Parallel()
				s := newServing(consumers, workers/consumers)
				s.run(well, rate)
				if s.row.Limited() {
					t.Fatal("there is a limit while all is well")
				}
				s.takes = slow.takes
				s.run(slow.lasts, rate)
				s.takes = 50 * time.Millisecond
				s.run(3*slow.lasts, rate)
				for second, n := range s.begun {
					if n > 2*rate {
						t.Errorf("%d calls in second %d, %d are normal", n, second, rate)
					}
				}
				back := well + int(slow.lasts) + 6 // what had begun before takes as long
				for second := back; second < back+10; second++ {
					if n := s.begun[second]; n < rate {
						t.Errorf("%d calls in second %d after its return, with a backlog", n, second-back)
					}
				}
				s.run(20, rate)
				if s.backlog > rate || s.row.Limited() || s.limited != 1 {
					t.Errorf("%.0f orders wait, limited %d times: %+v", s.backlog, s.limited, s.row)
				}
			})
		}
	}
}

// Handlers that are as quick as ever have no limit, however much there is to do.
func TestAFullLoadIsNotSlowness(t *testing.T) {
	t.Parallel()
	s := newServing(3, 20)
	s.run(20, 100)
	s.backlog = 100_000
	s.run(20, 100)
	s.takes = 75 * time.Millisecond // with a full load it takes longer
	s.run(20, 100)
	if s.limited != 0 {
		t.Errorf("limited %d times", s.limited)
	}
}
