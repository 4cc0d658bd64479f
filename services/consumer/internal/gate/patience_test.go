package gate

import (
	"fmt"
	"testing"
	"time"
)

// asking is a queue with a steady load, consumers, and a receiver that may ask for patience. Time is imagined.
type asking struct {
	now      time.Time
	row      State
	meters   []Meter // of each consumer: what is normal,
	answered []Meter // and what is answered
	refused  []bool  // since it last asked
	short    []bool  // it got fewer than it was granted
	refuses  func(at time.Time) bool
	patience time.Duration
	arrived  float64
	backlog  int
	turn     int
	done     map[int]int // orders that were answered in each second since noon
	asked    map[int]int // and refused
}

func newAsking(consumers int, patience time.Duration) *asking {
	return &asking{
		now: noon, meters: make([]Meter, consumers), answered: make([]Meter, consumers), refused: make([]bool, consumers),
		short: make([]bool, consumers), patience: patience, refuses: func(time.Time) bool { return false }, done: map[int]int{}, asked: map[int]int{},
	}
}

// run lets some seconds pass, in which so many orders arrive in each.
func (a *asking) run(seconds, rate float64) {
	const step = 50 * time.Millisecond
	for end := a.now.Add(time.Duration(seconds * float64(time.Second))); a.now.Before(end); {
		a.now = a.now.Add(step)
		before := int(a.arrived)
		a.arrived += rate * step.Seconds()
		a.backlog += int(a.arrived) - before
		a.turn++
		for i := range a.meters {
			a.ask((i + a.turn) % len(a.meters))
		}
	}
}

func (a *asking) ask(i int) {
	ask := Told{
		Who: fmt.Sprint("consumer ", i), Arrivals: int64(a.arrived), Recent: a.answered[i].Recent(a.now),
		Eased: a.refused[i], Want: 300, Short: a.short[i],
	}
	if a.refused[i] {
		ask.Patience = a.patience
	}
	if a.row.resuming() { // it costs something to know, and nobody else asks
		ask.Rate = a.meters[i].Rate(a.now)
	}
	a.refused[i] = false
	var answer Answer
	a.row, answer = a.row.Step(a.now, policy, ask)
	a.short[i] = a.backlog < answer.Grant
	for range min(answer.Grant, a.backlog) {
		second := int(a.now.Sub(noon).Seconds())
		if a.refuses(a.now) {
			a.refused[i] = true
			a.asked[second]++
			continue
		}
		a.backlog--
		a.done[second]++
		a.answered[i].Add(a.now, 0)
		if !a.row.Limited() {
			a.meters[i].Add(a.now, 0)
		}
	}
}

// A receiver that asks all for patience, whoever calls how seldom, is back at the full rate within ten seconds of its return, and is not
// overrun by what has piled up. When that takes longer it is an outage, for the breaker.
func TestAfterPatienceTheFullRateIsBackSoon(t *testing.T) {
	t.Parallel()
	const rate = 200
	for _, consumers := range []int{1, 10} {
		for _, before := range []int{0, 40} { // seconds in which all was well
			for _, away := range []int{2, 15} {
				t.Run(fmt.Sprintf("%d consumers, well for %d s, then for %d s not", consumers, before, away), func(t *testing.T) {
					t.Parallel()
					a := newAsking(consumers, 2*time.Second)
					a.run(float64(before), rate)
					a.refuses = func(time.Time) bool { return true }
					a.run(float64(away), rate)
					a.refuses = func(time.Time) bool { return false }
					a.run(90, rate)
					back := before + away + 2 // it had asked for so much when it came back
					for second := back + 1; second < back+80; second++ {
						if second > back+10 && a.done[second] < rate*9/10 {
							t.Fatalf("%d orders in second %d after its return", a.done[second], second-back)
						}
						if known := before > 0 || away > 10; known && a.done[second] > 2*rate {
							t.Fatalf("%d orders in second %d after its return, %d are usual", a.done[second], second-back, rate)
						}
					}
					if a.backlog > rate || a.row.Limited() {
						t.Errorf("%d orders wait, %+v", a.backlog, a.row)
					}
				})
			}
		}
	}
}

// A receiver that takes so much and no more is used for the most of that, and refuses little, however many orders wait.
func TestAReceiversLimitIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{5, 20, 200} {
		for _, patience := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%.0f a second, asks for %s", limit, patience), func(t *testing.T) {
				t.Parallel()
				limit := limit
				a := newAsking(3, patience)
				tokens, last := limit, noon
				a.refuses = func(at time.Time) bool {
					tokens = min(tokens+at.Sub(last).Seconds()*limit, limit)
					last = at
					if tokens < 1 {
						return true
					}
					tokens--
					return false
				}
				a.backlog = 1_000_000
				a.run(60, 2*limit)
				done, asked := 0, 0
				a.run(120, 2*limit)
				for second := 60; second < 180; second++ {
					done += a.done[second]
					asked += a.asked[second]
				}
				if float64(done) < 120*limit*0.6 || asked > done/4 {
					t.Errorf("%d orders taken and %d refused in two minutes", done, asked)
				}
				// And when it takes more, it is found out.
				limit *= 10
				a.run(120, 2*limit)
				done = 0
				for second := 270; second < 300; second++ {
					done += a.done[second]
				}
				if float64(done) < 30*limit*0.6 {
					t.Errorf("%d orders in the last half minute, where %.0f would be taken", done, 30*limit)
				}
			})
		}
	}
}
