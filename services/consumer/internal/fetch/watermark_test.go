package fetch

import (
	"testing"
	"time"
)

func TestTheWatermarkIsUsedOnlyWhileFullLooksAreExpensive(t *testing.T) {
	t.Parallel()
	var w watermark
	if !begin(&w).IsZero() {
		t.Fatal("the first look begins at the beginning")
	}
	due := time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)
	w.looked(time.Time{}, 4*time.Millisecond, 0, time.Time{})
	w.looked(time.Time{}, 40*time.Millisecond, 500, due) // many messages take their time
	if !begin(&w).IsZero() {
		t.Fatal("cheap looks need no watermark")
	}
	w.looked(time.Time{}, 40*time.Millisecond, 30, due)
	bound := begin(&w)
	if want := due.Add(straggling); !bound.Equal(want) {
		t.Fatalf("%s, want %s", bound, want)
	}
	w.looked(bound, time.Millisecond, 30, due.Add(time.Minute))
	if want := due.Add(time.Minute + straggling); !begin(&w).Equal(want) {
		t.Fatalf("%s, want %s: the watermark follows what is found", begin(&w), want)
	}
	w.looked(bound, time.Millisecond, 1, due)
	if want := due.Add(time.Minute + straggling); !begin(&w).Equal(want) {
		t.Fatal("and does not fall")
	}
	// A full look knows better: messages that were committed late are older than what was found before.
	w.looked(time.Time{}, 40*time.Millisecond, 30, due.Add(-time.Minute))
	if want := due.Add(-time.Minute + straggling); !begin(&w).Equal(want) {
		t.Fatalf("%s, want %s: there are older ones", begin(&w), want)
	}
	// However expensive, a full look comes within a second.
	w.looked(time.Time{}, time.Hour, 1, due)
	if until := time.Until(w.full); until > latestLook {
		t.Fatalf("the next full look is %s away", until)
	}
}

func begin(w *watermark) time.Time {
	bound, _ := w.bound()
	return bound
}
