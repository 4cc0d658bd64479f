package worker

import (
	"testing"
	"time"
)

func TestTheFloorIsUsedOnlyWhileFullLooksAreExpensive(t *testing.T) {
	t.Parallel()
	var f floor
	if !begin(&f).IsZero() {
		t.Fatal("the first look begins at the beginning")
	}
	due := time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)
	f.looked(time.Time{}, 4*time.Millisecond, 0, time.Time{})
	f.looked(time.Time{}, 40*time.Millisecond, 500, due) // many messages take their time
	if !begin(&f).IsZero() {
		t.Fatal("cheap looks need no floor")
	}
	f.looked(time.Time{}, 40*time.Millisecond, 30, due)
	bound := begin(&f)
	if want := due.Add(straggling); !bound.Equal(want) {
		t.Fatalf("%s, want %s", bound, want)
	}
	f.looked(bound, time.Millisecond, 30, due.Add(time.Minute))
	if want := due.Add(time.Minute + straggling); !begin(&f).Equal(want) {
		t.Fatalf("%s, want %s: the floor follows what is found", begin(&f), want)
	}
	f.looked(bound, time.Millisecond, 1, due)
	if want := due.Add(time.Minute + straggling); !begin(&f).Equal(want) {
		t.Fatal("and does not fall")
	}
	// A full look knows better: messages that were committed late are older than what was found before.
	f.looked(time.Time{}, 40*time.Millisecond, 30, due.Add(-time.Minute))
	if want := due.Add(-time.Minute + straggling); !begin(&f).Equal(want) {
		t.Fatalf("%s, want %s: there are older ones", begin(&f), want)
	}
	// However expensive, a full look comes within a second.
	f.looked(time.Time{}, time.Hour, 1, due)
	if until := time.Until(f.full); until > latestLook {
		t.Fatalf("the next full look is %s away", until)
	}
}

func begin(f *floor) time.Time {
	bound, _ := f.bound()
	return bound
}
