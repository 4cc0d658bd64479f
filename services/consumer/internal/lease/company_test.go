package lease

import (
	"sync"
	"testing"
)

func TestTheMoreSuspectTheSmallerTheCompany(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ concurrency, first, second, third, aloneFrom int }{
		{1, 1, 1, 1, 1}, {2, 1, 1, 1, 1}, {8, 4, 1, 1, 2}, {30, 15, 3, 1, 3}, {127, 63, 15, 1, 3}, {128, 64, 16, 2, 4}, {10_000, 5000, 1250, 156, 5},
	} {
		for unanswered, want := range map[int32]int{0: test.concurrency, 1: test.first, 2: test.second, 3: test.third, 5: 1, 1 << 30: 1} {
			if got := suspicionOf(unanswered).Of(test.concurrency); got != want {
				t.Errorf("%d of %d after %d deliveries without an answer, want %d", got, test.concurrency, unanswered, want)
			}
		}
		for unanswered := range int32(10) {
			if got, want := suspicionOf(unanswered).alone(test.concurrency), int(unanswered) >= test.aloneFrom; got != want {
				t.Errorf("alone %t after %d deliveries without an answer, of %d", got, unanswered, test.concurrency)
			}
		}
	}
}

// admitted has deliveries come one after the other, and returns a channel on which each tells of its admission.
func admitted(c *company, suspects ...Suspicion) chan int {
	in := make(chan int, len(suspects))
	for i, s := range suspects {
		before := c.came()
		go func() {
			if c.join(s) {
				in <- i
			} else {
				in <- -1
			}
		}()
		for c.came() == before {
		}
	}
	return in
}

func (c *company) came() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func TestASuspectIsWorkedOnInSmallCompanyAndNobodyOvertakesIt(t *testing.T) {
	t.Parallel()
	c := newCompany(8)
	in := admitted(c, 0, 0, 0, 1, 1, 0, 2, 0) // the fifth fills the half; the seventh is to be alone
	for range 4 {
		if got := <-in; got > 3 {
			t.Fatalf("%d is admitted", got)
		}
	}
	state := func() (working int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range c.members {
			working += n
		}
		return working
	}
	for _, leaves := range []Suspicion{0, 0} { // one for one
		c.leave(leaves)
		if got := <-in; got != 4 && got != 5 || state() != 4 {
			t.Fatalf("%d is admitted, %d work", got, state())
		}
	}
	for i, leaves := range []Suspicion{0, 1, 1, 0} { // all have to go
		if len(in) != 0 {
			t.Fatalf("admitted beside %d others", 4-i)
		}
		c.leave(leaves)
	}
	if got := <-in; got != 6 || state() != 1 || len(in) != 0 {
		t.Fatalf("%d is admitted, %d work", got, state())
	}
	c.leave(2)
	if got := <-in; got != 7 {
		t.Fatalf("%d is admitted", got)
	}
}

func TestAClosedCompanySendsAwayWhoWaits(t *testing.T) {
	t.Parallel()
	c := newCompany(2)
	in := admitted(c, 1, 0, 1)
	if got := <-in; got != 0 {
		t.Fatalf("%d is admitted", got)
	}
	c.close()
	for range 2 {
		if got := <-in; got != -1 {
			t.Fatalf("%d is admitted", got)
		}
	}
	if c.join(0) {
		t.Fatal("admitted after the end")
	}
}

func TestWithoutSuspectsNobodyWaits(t *testing.T) {
	t.Parallel()
	c := newCompany(4)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 10_000 {
				c.join(0)
				c.leave(0)
			}
		})
	}
	workers.Wait()
}
