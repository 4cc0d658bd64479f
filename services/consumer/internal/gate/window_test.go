package gate

import (
	"testing"
	"time"
)

func TestWhenAWindowOpensTheBreaker(t *testing.T) {
	t.Parallel()
	type result struct {
		n      int
		result Result
		order  int64 // 0: each is another's
		slower int   // were begun before, and go on
	}
	for name, test := range map[string]struct {
		results []result
		opens   int // after so many; 0: never
		share   float64
	}{
		"all is well":                         {results: []result{{n: 1000, result: Answered}}},
		"nobody is there from the start":      {results: []result{{n: 1000, result: Unavailable}}, opens: 10},
		"one failure":                         {results: []result{{n: 60, result: Answered}, {n: 1, result: Unavailable}, {n: 60, result: Answered}}},
		"one connection with all calls":       {results: []result{{n: 60, result: Answered}, {n: 30, result: Unavailable}, {n: 60, result: Answered}}},
		"goes away":                           {results: []result{{n: 60, result: Answered}, {n: 1000, result: Unavailable}}, opens: 91},
		"one order that cannot work":          {results: []result{{n: 1000, result: Unavailable, order: 7}}},
		"two of them":                         {results: []result{{n: 9, result: Unavailable, order: 7}, {n: 9, result: Unavailable, order: 8}}},
		"three of them, and nothing else":     {results: []result{{n: 9, result: Unavailable, order: 7}, {n: 9, result: Unavailable, order: 8}, {n: 1, result: Unavailable}}, opens: 19},
		"asks for patience now and then":      {results: []result{{n: 1, result: Answered}, {n: 50, result: Throttled}}},
		"never does anything else":            {results: []result{{n: 1000, result: Throttled}}, opens: 10},
		"the breaker is off":                  {results: []result{{n: 1000, result: Unavailable}}, share: -1},
		"quick failures among slow answers":   {results: []result{{n: 12, result: Unavailable, slower: 48}}},
		"and they were no answers, after all": {results: []result{{n: 12, result: Unavailable, slower: 48}, {n: 48, result: Unavailable}}, opens: 13},
		"one that hangs among many failures":  {results: []result{{n: 1000, result: Unavailable, slower: 1}}, opens: 10},
		"slow ones, but much is known":        {results: []result{{n: 60, result: Answered}, {n: 60, result: Unavailable, slower: 29}}, opens: 91},
	} {
		share := test.share
		if share == 0 {
			share = 0.5
		}
		w := NewWindow(share, 10, 30, time.Minute)
		n, opened := 0, 0
		for _, r := range test.results {
			for range r.n {
				n++
				order := r.order
				if order == 0 {
					order = 1000 + int64(n)
				}
				if w.Add(noon, order, r.result, r.slower) && opened == 0 {
					opened = n
				}
			}
		}
		if opened != test.opens {
			t.Errorf("%s: opens after %d, not %d", name, opened, test.opens)
		}
	}
}

func TestAWindowForgetsWhatIsOld(t *testing.T) {
	t.Parallel()
	w := NewWindow(0.5, 10, 30, time.Minute)
	for i := range 9 {
		w.Add(noon, int64(i), Unavailable, 0)
	}
	if w.Add(noon.Add(61*time.Second), 10, Unavailable, 0) {
		t.Error("it opens for failures of more than a minute ago")
	}
	w.Clear()
	for i := range 9 {
		if w.Add(noon.Add(62*time.Second), int64(i), Unavailable, 0) {
			t.Error("it remembers what was cleared")
		}
	}
}

func TestTheMeter(t *testing.T) {
	t.Parallel()
	var m Meter
	if m.Rate(noon) != 0 || m.Recent(noon) != 0 {
		t.Error("nothing is something")
	}
	m.Add(noon, 0)
	if r := m.Rate(noon.Add(4 * time.Second)); r != 0 {
		t.Errorf("of four seconds %f are believed", r)
	}
	m = Meter{}
	for i := range 20 * 200 {
		m.Add(noon.Add(time.Duration(i)*5*time.Millisecond), 0)
	}
	end := noon.Add(20 * time.Second)
	if r := m.Rate(end); r != 200 {
		t.Errorf("200 a second are %f", r)
	}
	if r := m.Recent(end); r != 200 {
		t.Errorf("200 in the last second are %f", r)
	}
	if r := m.Rate(end.Add(30 * time.Second)); r != 200 {
		t.Errorf("half a minute later they are %f", r)
	}
	if r := m.Recent(end.Add(30 * time.Second)); r != 0 {
		t.Errorf("half a minute later %f are recent", r)
	}
	if r := m.Rate(end.Add(2 * time.Minute)); r != 0 {
		t.Errorf("two minutes later they are %f", r)
	}
}
