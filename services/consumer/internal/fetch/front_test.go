package fetch

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

// frontBench is a fetcher on a clock of its own.
type frontBench struct {
	*Fetcher
	t   *testing.T
	now time.Time
}

func newFrontBench(t *testing.T) *frontBench {
	b := &frontBench{Fetcher: &Fetcher{Poller: &Poller{}}, t: t, now: time.Date(2026, 1, 7, 19, 48, 3, 0, time.UTC)}
	b.front.now = func() time.Time { return b.now }
	return b
}

// read has a read of 30 messages, or as many as are given, that takes its time and brings some of them, and wants that it begins at the front or not.
func (b *frontBench) read(when string, atTheFront bool, got int, wanted ...int) queue.Bounds {
	b.t.Helper()
	want := queue.Bounds{Messages: 30}
	if len(wanted) > 0 {
		want.Messages = wanted[0]
	}
	b.begin(&want)
	if want.Front != atTheFront {
		b.t.Fatalf("%s: at the front: %t, want %t", when, want.Front, atTheFront)
	}
	b.began(want, readResult{wanted: want.Messages, got: got, took: time.Millisecond}, b.now)
	return want
}

func TestReadsBeginAtTheFrontForASecondWhileTheyAreFull(t *testing.T) {
	t.Parallel()
	b := newFrontBench(t)
	b.read("the first read", false, 30)
	b.read("after a full one from the beginning", true, 30)
	b.now = b.now.Add(farthest - 1)
	b.read("shortly before the time is over", true, 30)
	b.now = b.now.Add(1)
	b.read("after a second, however many were full since", false, 30)
	b.read("after the next full one from the beginning", true, 29)
	b.read("after one that was not full: what is left may be before the front", false, 29)
	b.read("while reads find less than they want", false, 30)
}

// They would pass over what is before the front, and never move it back.
func TestSmallReadsBeginAtTheBeginning(t *testing.T) {
	t.Parallel()
	const small = queue.MovesFront - 1
	b := newFrontBench(t)
	b.read("the first read", false, 30)
	b.read("a small one", false, small, small)
	b.now = b.now.Add(farthest)
	b.read("small ones do not stand for large ones from the beginning", false, small, small)
	b.read("which come after a second", false, 30)
}

// Reads that begin at the watermark are not from the beginning, nor are they at the front; and those at the front do not tell what a look at
// all of it costs.
func TestTheFrontAndTheWatermarkDoNotTakeEachOthersReadsForWholeOnes(t *testing.T) {
	t.Parallel()
	b := newFrontBench(t)
	b.read("the first read", false, 30)
	b.Poller.watermark.at, b.Poller.watermark.full = b.now, time.Now().Add(time.Hour)
	if want := b.read("while the watermark holds", false, 30); want.Watermark.IsZero() {
		t.Fatal("the watermark does not hold")
	}
	b.now = b.now.Add(farthest)
	b.read("a second later", false, 30)
	b.Poller.watermark.full = time.Time{}
	if want := b.read("when it holds no more: those at the watermark were not from the beginning", false, 30); !want.Watermark.IsZero() {
		t.Fatal("the watermark holds")
	}
	want := queue.Bounds{Messages: 30}
	if b.begin(&want); !want.Front {
		t.Fatal("no read at the front")
	}
	b.began(want, readResult{wanted: 30, got: 30, took: time.Hour}, b.now)
	if bound, _ := b.Poller.watermark.bound(); !bound.IsZero() {
		t.Error("what an expensive read at the front found is taken for where everything begins")
	}
}
