package fetch

import (
	"testing"
	"time"
)

func TestReadsBeginAtTheFrontForASecondWhileTheyAreFull(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)
	f := front{now: func() time.Time { return now }}
	expect := func(want bool, when string) {
		t.Helper()
		if f.begins() != want {
			t.Fatalf("%s: begins at the front: %t, want %t", when, !want, want)
		}
	}
	expect(false, "the first read")
	f.noteRead(false, true)
	expect(true, "after a full one from the beginning")
	now = now.Add(farthest - 1)
	expect(true, "shortly before the time is over")
	f.noteRead(true, true)
	now = now.Add(1)
	expect(false, "after a second, however many were full since")
	f.noteRead(false, true)
	expect(true, "after the next full one from the beginning")
	f.noteRead(true, false)
	expect(false, "after one that was not full: what is left may be before the front")
	f.noteRead(false, false)
	expect(false, "while reads find less than they want")
}
