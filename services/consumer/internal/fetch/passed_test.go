package fetch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/queue"
)

// passing is a demand with a clock of the test's, and what its next read leaves out.
func passing() (p *Demand, now *time.Time, except func() []int64) {
	start := time.Now()
	now = &start
	p = NewDemand(Limits{Batch: 1, Concurrency: 1, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	p.passed = newPassed(func() time.Time { return *now })
	return p, now, func() []int64 { want, _ := wants(p, lease.Counts{}); return want.Except }
}

func TestWhatIsSuppressedIsPassedOverForAWhile(t *testing.T) {
	t.Parallel()
	p, now, except := passing()
	if p.noteSuppressed(nil) || len(except()) != 0 || p.passed.describe() != "" {
		t.Fatalf("%v are passed over: %s", except(), p.passed.describe())
	}
	if !p.noteSuppressed([]int64{8, 7}) || !slices.Equal(except(), []int64{7, 8}) {
		t.Fatalf("%v are passed over", except())
	}
	if why := p.passed.describe(); !strings.Contains(why, "2 due messages") || !strings.Contains(why, "msg_id 7") || !strings.Contains(why, "trigger") {
		t.Error(why)
	}
	*now = now.Add(suppressedPause)
	if !slices.Equal(except(), []int64{7}) { // it was the second
		t.Fatalf("%v are passed over", except())
	}
	*now = now.Add(suppressedPause / passedMore)
	if len(except()) != 0 || p.passed.describe() != "" {
		t.Fatalf("%v are passed over", except())
	}
}

// What is due behind many that are suppressed is reached, by slow reads of one, although the first of them are tried again meanwhile.
func TestManyThatAreSuppressedArePassedOver(t *testing.T) {
	t.Parallel()
	p, now, except := passing()
	const suppressed, enough = 300, 1000
	for read := range enough {
		passed := except()
		next := int64(0)
		for slices.Contains(passed, next) {
			next++
		}
		if next == suppressed {
			return
		}
		if !p.noteSuppressed([]int64{next}) {
			t.Fatalf("read %d: no room for %d", read, next)
		}
		*now = now.Add(suppressedPause / passedMore / 2)
	}
	t.Errorf("%d reads have not found what is behind %d messages", enough, suppressed)
}

func TestOnlySoManyArePassedOver(t *testing.T) {
	t.Parallel()
	p, _, except := passing()
	for id := range int64(mostPassed) {
		if !p.noteSuppressed([]int64{id}) {
			t.Fatalf("no room for %d", id)
		}
	}
	if p.noteSuppressed([]int64{mostPassed}) || len(except()) != mostPassed {
		t.Errorf("%d are passed over, and there is room for more", len(except()))
	}
}

func TestWhatMakesReadsFailIsPassedOverForLonger(t *testing.T) {
	t.Parallel()
	raised := &pgconn.PgError{Code: "P0001", Message: "not this one"}
	p, now, except := passing()
	p.noteRead(went(1, 0, time.Millisecond), raised)
	if p.unreadable == nil || len(except()) != 0 {
		t.Fatalf("%v are passed over, unreadable: %v", except(), p.unreadable)
	}
	p.noteRead(went(1, 0, time.Millisecond), &queue.UnleasableError{ID: 7, Err: raised})
	if p.unreadable != nil || !slices.Equal(except(), []int64{7}) || !strings.Contains(p.passed.describe(), "not this one") {
		t.Fatalf("%v are passed over: %s", except(), p.passed.describe())
	}
	*now = now.Add(spoiledPause)
	if len(except()) != 0 {
		t.Fatalf("%v are passed over", except())
	}
	// One that can neither be read nor leased.
	p.noteRead(went(1, 0, time.Millisecond), raised)
	p.noteSuppressed([]int64{8})
	p.noteRead(went(1, 0, time.Millisecond), nil)
	*now = now.Add(spoiledPause - 1)
	if !slices.Equal(except(), []int64{8}) {
		t.Fatalf("%v are passed over", except())
	}
}

// A read fails, and the message that seems to be at fault can be read: it was another one, as a rule. When the same happens once more, it is not.
func TestASoundMessageThatMakesReadsFailIsPassedOver(t *testing.T) {
	t.Parallel()
	p, _, except := passing()
	fail := func() { p.noteRead(went(1, 0, time.Millisecond), &pgconn.PgError{Code: "22P05"}) }
	look := func(sound int64) {
		r := went(1, 0, time.Millisecond)
		r.sound = sound
		p.noteRead(r, nil)
	}
	fail()
	look(7)
	fail()
	look(8)
	fail()
	look(7)
	p.noteRead(went(1, 1, time.Millisecond), nil) // it is read
	fail()
	look(7)
	if len(except()) != 0 {
		t.Fatalf("%v are passed over", except())
	}
	fail()
	look(7)
	if !slices.Equal(except(), []int64{7}) {
		t.Fatalf("%v are passed over", except())
	}
}

// What is at fault need not be the row: it is tried again soon, the sooner the less that costs.
func TestWhatMayConcernAllRowsIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	for took, pause := range map[time.Duration]time.Duration{
		time.Millisecond: suppressedPause, 500 * time.Millisecond: failedPauseReads * 500 * time.Millisecond, time.Minute: spoiledPause,
	} {
		p, now, except := passing()
		refused := &pgconn.PgError{Code: "53100"}
		p.noteRead(went(1, 0, took), refused)
		p.noteRead(went(1, 0, took), &queue.UnleasableError{ID: 7, Err: refused})
		if in, some := p.passed.soonest(); !some || in != pause {
			t.Errorf("after reads that take %s it is tried again in %s, want %s", took, in, pause)
		}
		*now = now.Add(pause)
		if len(except()) != 0 {
			t.Errorf("%v are passed over", except())
		}
		if _, some := p.passed.soonest(); some {
			t.Error("something is to be tried again")
		}
	}
}

// Where no more can be passed over, reads pause.
func TestWhatIsNotPassedOverIsNoProgress(t *testing.T) {
	t.Parallel()
	raised := &pgconn.PgError{Code: "SH001"}
	p, _, _ := passing()
	for id := range int64(mostPassed) {
		if !p.noteRead(went(1, 0, time.Millisecond), raised) || !p.noteRead(went(1, 0, time.Millisecond), &queue.UnleasableError{ID: id, Err: raised}) {
			t.Fatalf("no progress with %d", id)
		}
	}
	if !p.noteRead(went(1, 0, time.Millisecond), raised) {
		t.Fatal("it is not looked for")
	}
	for range 3 {
		if p.noteRead(went(1, 0, time.Millisecond), &queue.UnleasableError{ID: mostPassed, Err: raised}) {
			t.Fatal("progress, though there is no room for another")
		}
	}
}
