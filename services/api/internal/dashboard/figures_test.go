package dashboard

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/api/internal/queue"
)

func TestPercentilesAreWhatTheBucketsSay(t *testing.T) {
	t.Parallel()
	if percentile(nil, .5) != nil || percentile([]int64{0, 0}, .99) != nil {
		t.Error("of no orders there is no percentile")
	}
	buckets := make([]int64, 40)
	buckets[0], buckets[30], buckets[33] = 0, 98, 2 // up to 1,024 ms, and up to 2,048 ms
	for part, want := range map[float64][2]float64{.5: {0.81, 1.024}, .95: {0.9, 1.024}, .99: {1.62, 2.048}, 1: {1.62, 2.05}} {
		if got := *percentile(buckets, part); got < want[0] || got > want[1] {
			t.Errorf("p%g is %g s, want %v", 100*part, got, want)
		}
	}
}

// JSON has no place for what is no number, and an event with one in it would not be sent.
func TestWhatIsNoNumberIsNotKnown(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]float64{
		0: 0, 1e-320: 0, -1e-306: 0, 0.00012344: 0.0001234, 3.33333: 3.333, -3.33333: -3.333, 9999.5: 10000, 1234567: 1234567, 1e308: 1e308, math.MaxFloat64: math.MaxFloat64,
	} {
		if got := number(v); got == nil || *got != want {
			t.Errorf("%g is %v, want %g", v, got, want)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := number(v); got != nil {
			t.Errorf("%g is %g", v, *got)
		}
		if made, err := frame("series", []float64{v}); err == nil {
			t.Errorf("%g is sent: %s", v, made)
		}
	}
}

func TestASampleIsWhatWasCountedSinceTheOneBefore(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	before := now.Add(-5 * time.Second)
	known := map[string]tally{"a": {Accepted: 100, Latency: []int64{1, 2}}, "c": {Completed: 50, Retried: 3, Latency: []int64{0, 5}}}
	processes := []process{
		{Key: "a", Kind: "api", Accepted: 130, StartedAt: now.Add(-time.Hour)},
		{Key: "c", Kind: "consumer", Completed: 70, Retried: 4, Failed: 1, Latency: []int64{1, 24}, Every: 2, StartedAt: now.Add(-time.Hour)},
		{Key: "new", Kind: "consumer", Completed: 7, Latency: []int64{0, 7}, Every: 2, StartedAt: now.Add(-3 * time.Second)},
		{Key: "forgotten", Kind: "consumer", Completed: 1_000_000, Every: 2, StartedAt: now.Add(-time.Hour)},
		{Key: "silent", Kind: "consumer", Completed: 1, Every: 2, Ago: 7, StartedAt: now.Add(-time.Hour)},
		{Key: "gone", Kind: "consumer", State: "gone", Completed: 2, Every: 2, StartedAt: now.Add(-time.Second)},
	}
	s := makeSample(9, &before, now, known, processes, queue.Snapshot{Visible: 11})
	if s.Seconds != 5 || s.Accepted != 30 || s.Completed != 29 || s.Retried != 1 || s.Failed != 1 || s.Consumers != 3 || s.Waiting != 11 || s.Latency[0] != 1 || s.Latency[1] != 26 {
		t.Errorf("the sample is %+v", s)
	}
	if known["c"].Latency[1] != 24 || known["forgotten"].Completed != 1_000_000 {
		t.Errorf("for the next one is known: %+v", known)
	}
	again := makeSample(10, &now, now.Add(5*time.Second), known, processes, queue.Snapshot{})
	if again.Accepted != 0 || again.Completed != 0 || len(again.Latency) > 0 && again.Latency[1] != 0 {
		t.Errorf("what was counted is counted again: %+v", again)
	}
	if s := makeSample(9, nil, now, map[string]tally{}, processes, queue.Snapshot{}); s.Seconds != 0 || s.Completed != 0 {
		t.Errorf("the first sample is %+v", s)
	}
	long := now.Add(-time.Hour)
	if s := makeSample(9, &long, now, map[string]tally{}, processes, queue.Snapshot{}); s.Seconds != 0 {
		t.Errorf("a sample that nobody took for an hour is %+v", s)
	}
}

func TestWhatIsKnownOfProcessesIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	known := map[string]tally{"old": {Seen: now.Unix() - rememberedFor - 1}}
	for i := range 2 * rememberedMost {
		known[strconv.Itoa(i)] = tally{Seen: now.Unix() - int64(i)}
	}
	forget(known, now)
	if _, ok := known["0"]; !ok || len(known) > rememberedMost {
		t.Errorf("%d are known", len(known))
	}
}

func TestWindowsHaveAllTheirPoints(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_003, 0)
	p := past{}
	p.add([]sample{
		{Step: stepOf(now), Seconds: 5, Completed: 10, Consumers: 2, Latency: []int64{10}},
		{Step: stepOf(now) - 1, Seconds: 10, Completed: 40, Consumers: 3, Latency: []int64{0, 40}},
		{Step: stepOf(now) - sampleSlots, Seconds: 5, Completed: 99},
		{Step: stepOf(now) + 5*sampleSlots, Seconds: 5, Completed: 99},
	}, now)
	w := p.window(now, 1)
	if len(w.At) != 60 || len(w.P99) != 60 || w.At[59] != 1_700_000_000 || *w.Completed[59] != 2 || *w.Completed[58] != 4 || w.Completed[57] != nil || *w.Consumers[58] != 3 {
		t.Errorf("the window is %+v", w)
	}
	if len(p) != 2 {
		t.Errorf("%d samples are kept", len(p))
	}
	// A clock that was ahead has left one of a time to come. It is not the last that is known, for as long as it would be.
	ahead := past{}
	ahead.add([]sample{{Step: stepOf(now), Seconds: 5}, {Step: stepOf(now) + 360, Seconds: 5}}, now)
	if last := ahead.last(); last != stepOf(now) {
		t.Errorf("the last sample is %d steps ahead", last-stepOf(now))
	}
	for name, test := range map[string]struct {
		at   int64
		last int64
		some bool
	}{
		"the sample that has just ended is not there yet": {1_700_000_005, 1_700_000_000, true},
		"nor a moment later":                              {1_700_000_009, 1_700_000_000, true},
		"nobody takes samples any more":                   {1_700_000_010, 1_700_000_010, false},
	} {
		if w := p.window(time.Unix(test.at, 0), 1); w.At[59] != test.last || (w.Completed[59] != nil) != test.some {
			t.Errorf("%s: the last point is of %d, %v", name, w.At[59], w.Completed[59])
		}
	}
	h := p.window(time.Unix(1_700_000_040, 0), 12)
	if h.At[59] != 1_700_000_040 || h.At[59]-h.At[58] != 60 {
		t.Errorf("the minutes end at %v", h.At[58:])
	}
	if got := *h.Completed[59]; got != 3.333 {
		t.Errorf("in a minute of which 15 seconds are known there were %g orders a second", got)
	}
}

func TestRatesAreOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	var r reports
	now := time.Unix(1_700_000_000, 0)
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	for s := range 20 {
		count := int64(10 * min(s, 10)) // ten a second, for ten seconds
		r.note([]process{{Key: "c", Completed: count, SeenAt: at(s)}}, at(s))
		rate := r.rate("c", at(s), completed)
		switch {
		case s == 0 && rate != nil:
			t.Errorf("of one report there is a rate: %g", *rate)
		case s > 0 && s <= 10 && *rate != 10, s >= 17 && *rate != 0:
			t.Errorf("after %d s the rate is %g", s, *rate)
		}
	}
	if rate := r.rate("c", at(60), completed); *rate != 0 {
		t.Errorf("of who is silent the rate is %g", *rate)
	}
	// A clock that was ahead is set back: what was told in the time to come is no report to go on from.
	for s := range 3 {
		ago := at(s - 3600)
		r.note([]process{{Key: "c", Completed: int64(200 + 7*s), SeenAt: ago}}, ago)
		if rate := r.rate("c", ago, completed); s > 0 && (rate == nil || *rate != 7) {
			t.Errorf("%d s after the clock was set back the rate is %v", s, rate)
		}
	}
	r.note(nil, at(61))
	if len(r.of) != 0 {
		t.Error("who is gone is remembered")
	}
}

func TestTriesAreSlowedDownByClientAndInAll(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	th := newThrottle()
	for range clientTries {
		if wait := th.wait("10.0.0.1", now); wait != 0 {
			t.Errorf("a first try waits for %s", wait)
		}
		th.wrong("10.0.0.1", now)
	}
	if wait := th.wait("10.0.0.1", now); wait <= 0 || wait > clientPause {
		t.Errorf("then it is %s", wait)
	}
	if wait := th.wait("10.0.0.1", now.Add(clientPause)); wait != 0 {
		t.Errorf("and after a pause %s", wait)
	}
	for i := range 2 * clientTries { // each from another address of one network
		th.wrong("2001:db8::"+strconv.Itoa(i), now)
	}
	if th.wait("2001:db8::ffff", now) == 0 {
		t.Error("with IPv6 everybody has tries without end")
	}
	for i := range 2 * allTries {
		th.wrong("10.1."+strconv.Itoa(i)+".1", now)
	}
	if wait := th.wait("192.0.2.1", now); wait <= 0 || wait > 30*time.Second {
		t.Errorf("when all try, one waits for %s", wait)
	}
	if wait := th.wait("192.0.2.1", now.Add(30*time.Second)); wait != 0 {
		t.Errorf("half a minute later it is %s", wait)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	tokens := newCredentials([]string{"reader"}, []string{"admin"})
	for l, token := range map[level]string{reader: "reader", admin: "admin"} {
		found, by := tokens.know(token)
		if found != l {
			t.Errorf("%s is of level %d", token, found)
		}
		cookie, end := by.begin(l, now)
		if s := tokens.open(cookie, end.Add(-time.Second)); s.level != l || s.csrf == "" {
			t.Errorf("the session of %s is %+v", token, s)
		}
		if s := tokens.open(cookie, end); s.level != nobody {
			t.Errorf("the session of %s does not end", token)
		}
		if s := newCredentials([]string{"reader2"}, []string{"admin2"}).open(cookie, now); s.level != nobody {
			t.Errorf("the session of %s outlives the token", token)
		}
	}
	_, by := tokens.know("reader")
	if cookie, _ := by.begin(admin, now); tokens.open(cookie, now).level != nobody {
		t.Error("a reader's token makes an admin's session")
	}
	if l, _ := tokens.know(""); l != nobody {
		t.Error("no token is one")
	}
}

// Whoever has a reader's cookie must not make an admin's of it, nor one that lasts.
func TestACookieCannotBeChanged(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	tokens := newCredentials([]string{"one for both"}, []string{"one for both"}) // the worst case: the same seal's key for both levels
	_, by := tokens.know("one for both")
	cookie, end := by.begin(reader, now)
	if life := end.Sub(now); life != 12*time.Hour { // the documentation says so
		t.Errorf("a session lasts for %s", life)
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if s := tokens.open(base64.RawURLEncoding.EncodeToString(changed), now); s.level != nobody {
				t.Errorf("with bit %d of byte %d changed it is a session of level %d", bit, i, s.level)
			}
		}
	}
	promoted := bytes.Clone(raw)
	promoted[0] = byte(admin) // two bits away
	if s := tokens.open(base64.RawURLEncoding.EncodeToString(promoted), now); s.level != nobody {
		t.Error("a reader's cookie can be made an admin's")
	}
	// What stands in a page's forms must not help who wants the cookie, and two sessions have nothing in common.
	s := tokens.open(cookie, now)
	csrf, err := base64.RawURLEncoding.DecodeString(s.csrf)
	if err != nil || bytes.Contains(raw, csrf) {
		t.Errorf("the forms' secret is a part of the cookie (%v)", err)
	}
	other, _ := by.begin(reader, now)
	if other == cookie || tokens.open(other, now).csrf == s.csrf {
		t.Error("two sessions are one")
	}
}

// With many orders under way, counting them takes longer than the other figures do: then the balance says how old it is.
func TestABalanceThatIsOldSaysSo(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]time.Duration{5 * time.Second: 0, late: 0, 38*time.Second + 400*time.Millisecond: 38 * time.Second} {
		at := now.Add(-ago).UnixMicro()
		if got := (counts{CheckedAt: &at}).balance(now).Behind; got != want {
			t.Errorf("counted %s ago: it says %s", ago, got)
		}
	}
	page := busyOverview("")
	page.Snapshot.Balance.Behind = 38 * time.Second
	if text := rendered(t, "overview.html", page); !strings.Contains(text, "counted 38 s ago") {
		t.Errorf("the page does not say it:\n%s", text)
	}
}
