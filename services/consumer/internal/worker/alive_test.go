package worker

import (
	"testing"
	"time"
)

func TestOnlyALoopThatHangsIsAReasonToRestart(t *testing.T) {
	t.Parallel()
	long, short := time.Now().Add(-2*wedged), time.Now()
	for name, test := range map[string]struct {
		harm  func(c *Consumer)
		alive bool
	}{
		"at rest":                          {func(*Consumer) {}, true},
		"in the middle of a read":          {func(c *Consumer) { c.fetching.since = short }, true},
		"a read that does not end":         {func(c *Consumer) { c.fetching.since = long }, false},
		"a write that does not end":        {func(c *Consumer) { c.settling.since = long }, false},
		"every worker stuck for a moment":  {func(c *Consumer) { c.load.stuckAll.since = short }, true},
		"every worker stuck for a minute":  {func(c *Consumer) { c.load.stuckAll.since = long }, false},
		"a database away since yesterday":  {func(*Consumer) {}, true},
		"draining for as long as it takes": {func(c *Consumer) { c.draining.Store(true) }, true},
	} {
		s := Settings{Batch: 30, Concurrency: 4}
		c := &Consumer{settings: s, held: newHeld()}
		c.load = newLoad(s, c.held)
		test.harm(c)
		if ok, why := c.Alive(); ok != test.alive || why == "" {
			t.Errorf("%s: alive %t (%s)", name, ok, why)
		}
	}
}

func TestPrefetchAdaptsToHowLongHandlersTake(t *testing.T) {
	t.Parallel()
	s := Settings{Batch: 30, Concurrency: 30}
	h := newHeld()
	l := newLoad(s, h)
	if n, ahead := l.want(); n != 30 || ahead != 0 {
		t.Fatalf("at first %d with %d ahead: as many as there are workers", n, ahead)
	}
	for range 100 {
		l.worked(time.Second)
		l.ahead()
	}
	if got := l.ahead(); got != 7 {
		t.Fatalf("%d ahead of handlers that take a second", got)
	}
	for range 100 {
		l.worked(10 * time.Microsecond)
		l.ahead()
	}
	if got := l.ahead(); got != 60 {
		t.Fatalf("%d ahead of quick handlers, want two batches", got)
	}
	h.working.Store(30)
	h.waiting.Store(50)
	if n, _ := l.want(); n != 0 {
		t.Fatalf("%d wanted while the buffer is full enough", n)
	}
	h.waiting.Store(20)
	if n, _ := l.want(); n != 30 {
		t.Fatalf("%d wanted", n)
	}
	h.size.Store(int64(l.mostHeld))
	if n, _ := l.want(); n != 0 {
		t.Fatalf("%d wanted though nothing can be written back", n)
	}
	s.Prefetch = 3
	if got := newLoad(s, h).ahead(); got != 3 {
		t.Fatalf("%d ahead, told 3", got)
	}
}
