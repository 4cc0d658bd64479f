package faults

import (
	"testing"
	"time"
)

func read(t *testing.T, list string) Set {
	t.Helper()
	var s Set
	if err := s.Decode(list); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASetReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                             "",
		"away":                         "away",
		"503:10%:30s, slow:5% drop":    "503:10%:30s,slow:5%,drop",
		"slow:100%:150ms,twice:100%":   "slow:100%:150ms,twice",
		"401,stall:0.5%,429:50%:1.5s,": "401,stall:0.5%,429:50%:1.5s",
	} {
		s := read(t, list)
		if s.String() != want || read(t, s.String()).String() != want {
			t.Errorf("%q became %q, want %q", list, s.String(), want)
		}
	}
	for _, wrong := range []string{"200", "600", "gone", "drop:10", "drop:0%", "drop:101%", "drop:NaN%", "slow:5%:never", "slow:5%:2h", "away:50%", "away:100%:5s", ":5%"} {
		if err := new(Set).Decode(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestSharesAreKept(t *testing.T) {
	t.Parallel()
	p := NewPlan(read(t, "500:30%,503:50%:2s,slow:20%:1s,drop:10%,twice:5%:1s"), 0, 1)
	const n = 20_000
	var refused, other, late, dropped, twice int
	for range n {
		d := p.Draw()
		switch {
		case d.Refuse != nil && d.Refuse.Status == 500:
			refused++
		case d.Refuse != nil && d.Refuse.Status == 503 && d.Refuse.Time == 2*time.Second:
			other++
		}
		if d.Late > 0 {
			late++
		}
		if d.Drop {
			dropped++
		}
		if d.Twice {
			twice++
		}
	}
	// 503 gets half of what 500 has left; late are the slow ones and those that are answered twice. The seed is fixed: nothing is left to chance.
	for name, c := range map[string][2]int{"500": {refused, 6000}, "503": {other, 7000}, "late": {late, 4800}, "drop": {dropped, 2000}, "twice": {twice, 1000}} {
		if c[0] < c[1]*9/10 || c[0] > c[1]*11/10 {
			t.Errorf("%s: %d of %d, want about %d", name, c[0], n, c[1])
		}
	}
}

func TestWhatIsOrderedForATimeEnds(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	p := NewPlan(read(t, "500:10%"), 0, 1)
	p.clock = func() time.Time { return now }
	_, _, changed := p.Away()
	p.Order(read(t, "away"), 10*time.Second)
	select {
	case <-changed:
	default:
		t.Error("nobody is told of the change")
	}
	if away, left, _ := p.Away(); !away || left != 10*time.Second {
		t.Error(away, left)
	}
	if p.Draw() != (Draw{}) {
		t.Error("to be away is nothing that happens to one request")
	}
	now = now.Add(10 * time.Second)
	if away, left, _ := p.Away(); away || left != 0 {
		t.Error(away, left)
	}
	if s, left := p.Now(); s.String() != "500:10%" || left != 0 {
		t.Error(s, left)
	}
	p.Order(nil, 0)
	p.Order(read(t, "401"), time.Second)
	now = now.Add(time.Second)
	if s, _ := p.Now(); s.String() != "" {
		t.Error(s)
	}
}

// What is ordered at the start for a time has nothing to go back to.
func TestFaultsOfTheStartEnd(t *testing.T) {
	t.Parallel()
	p := NewPlan(read(t, "401"), time.Hour, 1)
	now := time.Now()
	p.clock = func() time.Time { return now.Add(2 * time.Hour) }
	if s, _ := p.Now(); len(s) != 0 {
		t.Error(s)
	}
}
