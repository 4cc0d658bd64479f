package measure

import (
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestHistogramIsExactToThreeDigits(t *testing.T) {
	t.Parallel()
	h := NewHistogram()
	if h.Percentile(99) != 0 || h.Max() != 0 || h.Mean() != 0 {
		t.Fatal("an empty histogram has values")
	}
	for i := 1; i <= 100_000; i++ {
		h.Record(time.Duration(i) * 10 * time.Microsecond)
	}
	for p, want := range map[float64]time.Duration{50: 500 * time.Millisecond, 99: 990 * time.Millisecond, 99.9: 999 * time.Millisecond, 99.99: 999900 * time.Microsecond} {
		if got := h.Percentile(p); got < want-want/1000 || got > want+want/1000 {
			t.Errorf("p%g: %s", p, got)
		}
	}
	if s := h.Summary(); s.Count != 100_000 || s.P99 < 989 || s.P99 > 991 || s.Max < 999 {
		t.Errorf("%+v", s)
	}
	h.Record(-time.Second)
	h.Record(1000 * time.Hour)
	if h.Count() != 100_002 || h.Max() < 23*time.Hour {
		t.Errorf("values out of range: %d, max %s", h.Count(), h.Max())
	}
}

func TestStallsAreFoundWhoeverAnswersFirst(t *testing.T) {
	t.Parallel()
	usual := NewHistogram()
	usual.Record(5 * time.Millisecond)
	type answer struct{ begun, ended int } // milliseconds
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	cases := map[string]struct {
		answers []answer
		want    []Stall
	}{
		"none":                                   {[]answer{{0, 5}, {100, 105}, {5000, 5005}}, nil},
		"silence in which nobody waits":          {[]answer{{0, 5}, {9000, 9005}}, nil},
		"the oldest is answered first":           {[]answer{{0, 5}, {10, 2010}, {500, 2010}, {1900, 2011}}, []Stall{{ms(10), ms(2000)}}},
		"the youngest is answered first":         {[]answer{{0, 5}, {1990, 2010}, {1900, 2010}, {700, 2011}, {10, 2012}}, []Stall{{ms(10), ms(2000)}}},
		"it waited since before the last answer": {[]answer{{0, 5}, {1, 20}, {3, 1020}}, []Stall{{ms(20), ms(1000)}}},
		"two":                                    {[]answer{{0, 5}, {10, 1010}, {1020, 1025}, {2000, 3000}, {2001, 3001}}, []Stall{{ms(10), ms(1000)}, {ms(2000), ms(1000)}}},
	}
	for name, c := range cases {
		var w stallWatch
		for _, a := range c.answers {
			w.answer(ms(a.begun), ms(a.ended), usual)
		}
		if len(w.found) != len(c.want) {
			t.Errorf("%s: %v", name, w.found)
			continue
		}
		for i := range c.want {
			if w.found[i] != c.want[i] {
				t.Errorf("%s: %v", name, w.found)
			}
		}
	}
	// Where a second is what an answer usually takes, a second without one is no stall.
	slow := NewHistogram()
	slow.Record(time.Second)
	var w stallWatch
	w.answer(0, ms(1000), slow)
	w.answer(ms(1000), ms(2100), slow)
	if len(w.found) != 0 {
		t.Errorf("slow: %v", w.found)
	}
}

func TestRecorderCountsByWhatHappened(t *testing.T) {
	t.Parallel()
	start := time.Now()
	r := NewRecorder(start)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r.Due()
	r.Begin(orders.Valid, 10, at(0), at(25))
	r.Try(Try{Kind: orders.Valid, Begun: at(25), Ended: at(30), Waiting: at(25), Failed: true}, &client.Answer{Failure: client.Reset})
	r.Try(Try{Kind: orders.Valid, Begun: at(40), Ended: at(50), Waiting: at(25), Retry: true}, &client.Answer{Status: 201})
	snap := r.Snapshot(at(55))
	if snap.InFlight != 1 || snap.Elapsed != 55*time.Millisecond {
		t.Errorf("%+v", snap)
	}
	r.End(10, at(0), at(50), Accepted, true, "reset")
	snap = r.Snapshot(at(60))
	total := &snap.Totals
	if snap.InFlight != 0 || total.Sent != 10 || total.Accepted != 10 || total.Replayed != 10 || total.Unheard["reset"] != 1 || total.Tries != 2 || total.Retries != 1 ||
		total.Failed != 1 || total.Late != 1 || total.MaxLate != 25 || total.ErrorRate() != 0.5 || total.Status[201] != 1 || total.Failures["reset"] != 1 {
		t.Errorf("%+v", total)
	}
	if r.Post().Max().Round(time.Millisecond) != 50*time.Millisecond || r.Service().Max().Round(time.Millisecond) != 10*time.Millisecond || snap.P50 == 0 {
		t.Errorf("post %s, service %s, recent %s", r.Post().Max(), r.Service().Max(), snap.P50)
	}
	// A snapshot is a copy: what comes later does not change it.
	r.Begin(orders.Valid, 1, at(70), at(70))
	r.Try(Try{Kind: orders.Valid, Begun: at(70), Ended: at(71), Waiting: at(70), Failed: true}, &client.Answer{Status: 503})
	if total.Sent != 10 || total.Status[503] != 0 {
		t.Errorf("%+v", total)
	}
}
