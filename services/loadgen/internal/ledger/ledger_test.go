package ledger_test

import (
	"sync"
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/ledger"
)

func TestNumbersAreGivenOutOnceWhoeverAsks(t *testing.T) {
	t.Parallel()
	const limit, bulk = 200_003, 7
	l := ledger.New(time.Now(), bulk)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				first, count := l.Claim(limit)
				if count == 0 {
					return
				}
				if first%bulk != 0 || (count != bulk && first+count != limit) {
					t.Errorf("claimed %d from %d", count, first)
				}
				for n := first; n < first+count; n++ {
					if l.State(n) != ledger.Unused || !l.Accept(n, int64(n+1)) {
						t.Errorf("%d was given out before", n)
					}
				}
			}
		})
	}
	wg.Wait()
	if l.Len() != limit {
		t.Fatalf("%d given out", l.Len())
	}
	for n := range limit {
		if l.ID(n) != int64(n+1) || l.State(n) != ledger.Accepted {
			t.Fatalf("%d: id %d, state %d", n, l.ID(n), l.State(n))
		}
	}
	if first, count := l.Last(); first+count != limit || first%bulk != 0 {
		t.Fatalf("last: %d from %d", count, first)
	}
}

func TestAnotherIDIsAConflict(t *testing.T) {
	t.Parallel()
	l := ledger.New(time.Now(), 1)
	l.Claim(0)
	l.MarkSent(0, l.Start.Add(1500*time.Millisecond))
	for _, same := range []int64{5, 5, 0} {
		if !l.Accept(0, same) {
			t.Fatalf("%d is no conflict", same)
		}
	}
	if l.Accept(0, 6) {
		t.Fatal("another id is a conflict")
	}
	l.Refuse(0)
	if c := l.Conflicts(); len(c) != 1 || c[0] != (ledger.Conflict{N: 0, First: 5, Second: 6}) || l.State(0) != ledger.Accepted || l.ID(0) != 5 {
		t.Fatalf("%v, state %d, id %d", c, l.State(0), l.ID(0))
	}
	if at := l.SentAt(0); at.Sub(l.Start) != 1500*time.Millisecond {
		t.Fatalf("sent %s", at)
	}
}

func TestUnderWayUntilTheLastRequestEnds(t *testing.T) {
	t.Parallel()
	l := ledger.New(time.Now(), 1)
	l.Claim(0)
	if got := l.UnderWay(0); got != 0 {
		t.Fatalf("before it is sent: %s", got)
	}
	l.MarkSent(0, l.Start.Add(time.Second))
	for _, c := range []struct{ ended, want time.Duration }{
		{1020 * time.Millisecond, 100 * time.Millisecond},
		{1450 * time.Millisecond, 500 * time.Millisecond},
		{1200 * time.Millisecond, 500 * time.Millisecond}, // that of another request of it, which was answered first
		{48 * time.Hour, 6553500 * time.Millisecond},
	} {
		l.MarkEnded(0, l.Start.Add(c.ended))
		if got := l.UnderWay(0); got != c.want {
			t.Errorf("ended after %s: %s under way, not %s", c.ended, got, c.want)
		}
	}
}
