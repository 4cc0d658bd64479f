package gate

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "of the model test; 0: another one each time")

// model is a queue with its consumers, a receiver that is there or not, and a clock, all of them imagined. Consumers die, are started, are
// slow to hear, lose their answers; rows are deleted and filled with nonsense; the clock goes back. What must hold is checked at each step.
type model struct {
	t         *testing.T
	r         *rand.Rand
	now       time.Time
	row       State
	up        bool
	consumers []*imagined
	sent      []time.Time
	slowest   int // milliseconds that a probe takes at most
	losses    int // one of so many writes and answers is lost; 0: none
	started   int
}

type imagined struct {
	name   string
	probe  Probe
	ends   time.Time
	askAt  time.Time
	trip   string
	epoch  time.Time
	window *Window
}

func (m *model) start() {
	m.started++
	m.consumers = append(m.consumers, &imagined{name: fmt.Sprint("consumer ", m.started), window: NewWindow(0.5, 10, 8, time.Minute)})
}

// probing is how many probes are under way whose right has not run out.
func (m *model) probing() int {
	n := 0
	for _, c := range m.consumers {
		if c.probe == ProbeRunning && m.row.Prober == c.name && m.now.Before(m.row.ProbeUntil) {
			n++
		}
	}
	return n
}

// ask lets one consumer do what it does.
func (m *model) ask(c *imagined) {
	if c.probe == ProbeRunning && !m.now.Before(c.ends) {
		c.probe = ProbeFailed
		if m.up {
			c.probe = ProbeAnswered
		}
	} else if m.now.Before(c.askAt) && c.trip == "" {
		return
	}
	before := m.row
	next, answer := m.row.Step(m.now, policy, Told{Who: c.name, Trip: c.trip, Probe: c.probe, Want: 8, Rate: 10, Recent: 10})
	m.check(before, next, answer, c)
	if m.lost() {
		return // somebody else was quicker, or the database was away: it is told again
	}
	m.row = next
	if m.lost() {
		return // its answer is lost
	}
	c.trip = ""
	if c.probe != ProbeRunning {
		c.probe = ProbeNone
	}
	if !next.Since.Equal(c.epoch) {
		c.epoch = next.Since
		c.window.Clear()
	}
	c.askAt = m.now.Add(answer.Wait)
	if answer.Probe {
		c.probe, c.ends = ProbeRunning, m.now.Add(time.Duration(m.r.IntN(m.slowest))*time.Millisecond)
		return
	}
	for range answer.Grant {
		m.sent = append(m.sent, m.now)
		result := Unavailable
		if m.up {
			result = Answered
		}
		if c.window.Add(m.now, m.r.Int64N(1000), result, 0) {
			c.trip = "down"
		}
	}
}

func (m *model) lost() bool { return m.losses > 0 && m.r.IntN(m.losses) == 0 }

// check says what holds for each step.
func (m *model) check(before, next State, answer Answer, c *imagined) {
	m.t.Helper()
	switch {
	case next.Open && answer.Grant > 0 && !answer.Probe:
		m.t.Fatalf("%s fetches while the breaker is open", c.name)
	case answer.Probe && (answer.Grant != 1 || !next.Open):
		m.t.Fatalf("a probe of %d", answer.Grant)
	case answer.Probe && before.Prober != "" && before.Prober != c.name && m.now.Before(before.ProbeUntil):
		m.t.Fatalf("%s probes while %s does", c.name, before.Prober)
	case next.Paused() && answer.Grant > 0:
		m.t.Fatalf("%s fetches while the queue is paused", c.name)
	case answer.Wait < 0 || answer.Wait > time.Second:
		m.t.Fatalf("waits for %s", answer.Wait)
	case answer.Grant == 0 && answer.Wait == 0:
		m.t.Fatalf("%s may not fetch and does not know when: %+v", c.name, next)
	case next.Limited() && !next.Open && float64(answer.Grant) > max(next.Rate(m.now)*burst.Seconds(), 1):
		m.t.Fatalf("%d at once at %f a second", answer.Grant, next.Rate(m.now))
	case !before.Open && next.Open && c.trip == "":
		m.t.Fatal("it opens for no reason")
	case before.Open && !next.Open && (c.probe != ProbeAnswered || before.Prober != c.name):
		m.t.Fatal("it closes without a probe that succeeded")
	}
	for name, value := range map[string]float64{"tokens": next.Tokens, "base": next.Limit.Base, "growth": next.Limit.Growth, "normal": next.Normal} {
		if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
			m.t.Fatalf("%s are %f", name, value)
		}
	}
}

func (m *model) disturb() {
	switch m.r.IntN(12) {
	case 0:
		m.up = !m.up
	case 1:
		m.start()
	case 2:
		if len(m.consumers) > 1 {
			n := m.r.IntN(len(m.consumers))
			m.consumers = append(m.consumers[:n], m.consumers[n+1:]...) // whatever it was at
		}
	case 3:
		m.row = State{}
	case 4:
		m.row = nonsense(m.r, m.now)
	case 5:
		m.now = m.now.Add(-time.Duration(m.r.Int64N(int64(24 * time.Hour))))
		for _, c := range m.consumers {
			c.askAt, c.ends = m.now, m.now // they measure on clocks of their own
		}
	case 6:
		m.now = m.now.Add(time.Duration(m.r.Int64N(int64(time.Hour))))
	}
}

func nonsense(r *rand.Rand, now time.Time) State {
	when := func() time.Time {
		return []time.Time{{}, now, now.Add(1000 * time.Hour), now.Add(-1000 * time.Hour), time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}[r.IntN(5)]
	}
	number := func() float64 { return []float64{0, -1, 1e-300, 1, 1e300, math.NaN(), math.Inf(1)}[r.IntN(7)] }
	return State{
		Open: r.IntN(2) == 0, Since: when(), Reason: "nonsense", Failures: r.IntN(5) * math.MinInt32, ProbeAt: when(), Prober: []string{"", "somebody", "consumer 1"}[r.IntN(3)],
		ProbeUntil: when(), Normal: number(), RatedBy: make([]string, r.IntN(3)*1000), Arrivals: r.Int64(), ArrivedAt: when(),
		Limit: Limit{number(), number(), when()}, Tokens: number(), TokensAt: when(), PatienceUntil: when(),
	}
}

// Whatever happens, no rule is broken; and whatever has happened, the consumers get back to work when the receiver does.
func TestNothingThatHappensBreaksTheRules(t *testing.T) {
	t.Parallel()
	for round := range 300 {
		from := *seed
		if from == 0 {
			from = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", from), func(t *testing.T) {
			m := &model{t: t, r: rand.New(rand.NewPCG(from, 0)), now: noon, up: true, slowest: 8000, losses: 20}
			for range 1 + round%10 {
				m.start()
			}
			run := func(steps int) {
				for range steps {
					m.now = m.now.Add(time.Duration(1+m.r.IntN(100)) * time.Millisecond)
					m.ask(m.consumers[m.r.IntN(len(m.consumers))])
					if n := m.probing(); n > 1 {
						t.Fatalf("%d probes at once", n)
					}
				}
			}
			for range 60 {
				run(50)
				m.disturb()
			}
			m.up = true
			wide := func() bool { return !m.row.Open && !m.row.Limited() && !m.now.Before(m.row.PatienceUntil) }
			for deadline := m.now.Add(longestPatience + time.Hour); !wide(); {
				if m.now.After(deadline) {
					t.Fatalf("not back to work after an hour: %+v", m.row)
				}
				run(10)
				if !m.row.Open {
					m.row = m.row.lift(m.now, true) // all is worked off
				}
			}
		})
		if *seed != 0 {
			return
		}
	}
}

// After an outage all consumers together send no more than twice what is normal, in any second, and are at the normal rate within ten
// seconds of the receiver's return.
func TestARecoveryIsQuickAndNoStampede(t *testing.T) {
	t.Parallel()
	for consumers := 1; consumers <= 10; consumers += 3 {
		m := &model{t: t, r: rand.New(rand.NewPCG(7, uint64(consumers))), now: noon, up: true, slowest: 500}
		for range consumers {
			m.start()
		}
		m.consumers[0].trip = "down"
		m.up = false
		normal := 10 * float64(consumers) // each says 10: see ask
		for end := m.now.Add(2 * time.Minute); m.now.Before(end); {
			m.now = m.now.Add(2 * time.Millisecond)
			m.ask(m.consumers[m.r.IntN(consumers)])
		}
		if !m.row.Open || m.row.Normal != normal {
			t.Fatalf("%+v", m.row)
		}
		m.up, m.sent = true, nil
		back := m.now
		for end := m.now.Add(time.Minute); m.now.Before(end); {
			m.now = m.now.Add(2 * time.Millisecond)
			m.ask(m.consumers[m.r.IntN(consumers)])
		}
		perSecond := map[int]int{}
		for _, at := range m.sent {
			perSecond[int(at.Sub(back).Seconds())]++
		}
		for second := range 60 {
			if n := float64(perSecond[second]); n > 2*normal || second >= 9 && n < normal {
				t.Errorf("%d consumers: %.0f in second %d, normal is %.0f", consumers, n, second, normal)
			}
		}
	}
}
