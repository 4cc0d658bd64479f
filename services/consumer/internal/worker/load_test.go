package worker

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/queue"
)

func TestPrefetchAdaptsToHowLongHandlersTake(t *testing.T) {
	t.Parallel()
	s := Settings{Batch: 30, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}
	h := newHeld(newCompany(30))
	l := newLoad(s, h, &progress{now: time.Now})
	if n, ahead := l.want(); n != (queue.Bounds{Messages: 30, Bytes: 100, MessageBytes: 50}) || ahead != 0 {
		t.Fatalf("at first %+v with %d ahead: as many as there are workers", n, ahead)
	}
	l.noteRead(30, 30, 2*time.Millisecond, nil)
	for took, want := range map[time.Duration]int{time.Second: 0, 10 * time.Millisecond: 48} { // what 30 workers do in eight round trips
		for range 100 {
			l.occupied(1, took)
			l.ahead()
		}
		if got := l.ahead(); got < want-1 || got > want {
			t.Fatalf("%d ahead of handlers that take %s, want %d", got, took, want)
		}
	}
	for range 100 {
		l.occupied(1, 10*time.Microsecond)
		l.ahead()
	}
	if got := l.ahead(); got != 60 {
		t.Fatalf("%d ahead of quick handlers, want two batches", got)
	}
	h.running.Store(30)
	h.buffered.Store(50)
	if n, _ := l.want(); n.Messages != 0 {
		t.Fatalf("%+v wanted while the buffer is full enough", n)
	}
	h.buffered.Store(20)
	if n, _ := l.want(); n.Messages != 30 {
		t.Fatalf("%+v wanted", n)
	}
	h.bytes.Store(60)
	if n, _ := l.want(); n.Bytes != 40 {
		t.Fatalf("%+v wanted while 60 of 100 bytes are held", n)
	}
	h.bytes.Store(100)
	if n, _ := l.want(); n.Messages != 0 {
		t.Fatalf("%+v wanted though memory is full", n)
	}
	h.bytes.Store(0)
	h.size.Store(int64(l.mostHeld))
	if n, _ := l.want(); n.Messages != 0 {
		t.Fatalf("%+v wanted though nothing can be written back", n)
	}
	s.Prefetch = 3
	if got := newLoad(s, h, &progress{now: time.Now}).ahead(); got != 3 {
		t.Fatalf("%d ahead, told 3", got)
	}
}

// Without BATCH_SIZE the size of reads follows from how long handlers take; what is set is the most.
func TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes(t *testing.T) {
	t.Parallel()
	reads := func(l *load, times int, took time.Duration) (sizes []int) {
		for range times {
			want, _ := l.want()
			sizes = append(sizes, want.Messages)
			l.noteRead(want.Messages, want.Messages, 2*time.Millisecond, nil)
			l.occupied(max(want.Messages, 1), took*time.Duration(max(want.Messages, 1))) // done at once, so nothing waits
		}
		return sizes
	}
	fresh := func(batch int) *load {
		return newLoad(Settings{Batch: batch, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}, newHeld(newCompany(30)), &progress{now: time.Now})
	}
	l := fresh(0)
	if got, want := reads(l, 8, time.Microsecond), []int{30, 60, 120, 240, 480, 960, 1000, 1000}; !slices.Equal(got, want) {
		t.Errorf("reads of %v with quick handlers, want %v", got, want)
	}
	if _, ahead := l.want(); ahead != 2000 {
		t.Errorf("%d ahead, want two reads", ahead)
	}
	// Handlers that have become slow: nothing ahead any more, and growing begins anew.
	if got := reads(l, 40, time.Second); got[39] != 30 {
		t.Errorf("reads of %v with slow handlers", got)
	}
	l.ahead()
	l.known = false
	if got, want := reads(l, 3, time.Microsecond), []int{30, 60, 120}; !slices.Equal(got, want) {
		t.Errorf("reads of %v when they are quick again, want %v", got, want)
	}
	// A read that brings less than it might shows that there is no more.
	l = fresh(0)
	reads(l, 1, time.Microsecond)
	for range 10 {
		l.noteRead(60, 7, 2*time.Millisecond, nil)
	}
	if want, _ := l.want(); want.Messages != 60 {
		t.Errorf("%d wanted although no read was full", want.Messages)
	}
	for _, batch := range []int{10, 500, 5000} {
		if got := slices.Max(reads(fresh(batch), 20, time.Microsecond)); got != batch {
			t.Errorf("reads of %d with BATCH_SIZE=%d", got, batch)
		}
	}
}

// Reads that fail for how long they take are halved, whatever size they had grown to, and the way back is slower.
func TestReadsThatTakeTooLongAreHalved(t *testing.T) {
	t.Parallel()
	l := newLoad(Settings{Concurrency: 1000, HeldBytes: 100, MessageBytes: 50}, newHeld(newCompany(1000)), &progress{now: time.Now})
	l.noteRead(1000, 0, 3*time.Second, &pgconn.PgError{Code: pgerrcode.QueryCanceled})
	if want, _ := l.want(); want.Messages != 500 {
		t.Fatalf("%d wanted", want.Messages)
	}
	l.noteRead(500, 500, time.Second, nil)
	if want, _ := l.want(); want.Messages != 563 {
		t.Fatalf("%d wanted after one that worked", want.Messages)
	}
	l.noteRead(563, 0, time.Second, errors.New("connection lost"))
	if want, _ := l.want(); want.Messages != 563 {
		t.Fatalf("%d wanted after a loss", want.Messages)
	}
}

// Ten consumers begin on a backlog at the same time. Simulated: time passes in steps of a tenth of a millisecond.
func TestConsumersShareASmallBacklogEvenly(t *testing.T) {
	t.Parallel()
	const (
		consumers, workers = 10, 30
		step               = 100 * time.Microsecond
		roundTrip          = 2 * time.Millisecond
	)
	for _, test := range []struct {
		handler      time.Duration
		backlog, off int // how far from its share a consumer may be
	}{{time.Second, 1200, 30}, {10 * time.Millisecond, 3000, 60}, {10 * time.Millisecond, 900, 45}, {100 * time.Millisecond, 600, 30}} {
		type consumer struct {
			*load
			ends    []int // when handlers are done, in steps
			reading int   // messages that a read under way will bring
			until   int
			done    int
		}
		all := make([]*consumer, consumers)
		for i := range all {
			all[i] = &consumer{load: newLoad(Settings{Concurrency: workers, HeldBytes: 100, MessageBytes: 50}, newHeld(newCompany(workers)), &progress{now: time.Now})}
		}
		left, done, now := test.backlog, 0, 0
		for ; done < test.backlog; now++ {
			if now > 1e6 {
				t.Fatalf("%d of %d are done, and no more are read", done, test.backlog)
			}
			for _, c := range all {
				working := c.ends[:0]
				for _, end := range c.ends {
					if end > now {
						working = append(working, end)
						continue
					}
					c.done++
					done++
					c.occupied(1, test.handler)
				}
				c.ends = working
				if c.until == now && c.until > 0 {
					c.held.buffered.Add(int64(c.reading))
					c.noteRead(c.reading, c.reading, roundTrip, nil)
					c.until, c.reading = 0, 0
				}
				for len(c.ends) < workers && c.held.buffered.Load() > 0 {
					c.held.buffered.Add(-1)
					c.ends = append(c.ends, now+int(test.handler/step))
				}
				c.held.running.Store(int64(len(c.ends)))
				if c.until == 0 {
					want, _ := c.want()
					if c.reading = min(want.Messages, left); c.reading > 0 {
						left -= c.reading
						c.until = now + int(roundTrip/step)
					}
				}
			}
		}
		for i, c := range all {
			if share := test.backlog / consumers; c.done < share-test.off || c.done > share+test.off {
				t.Errorf("consumer %d did %d of %d with handlers of %s", i, c.done, test.backlog, test.handler)
			}
		}
		// With that sharing nobody is idle while others have messages waiting, but for a moment.
		rounds := (test.backlog + consumers*workers - 1) / (consumers * workers)
		if ideal := time.Duration(rounds) * test.handler; time.Duration(now)*step > ideal+ideal/2+10*roundTrip {
			t.Errorf("%d with handlers of %s took %s, with everybody at work all the time %s", test.backlog, test.handler, time.Duration(now)*step, ideal)
		}
	}
}

// What was read for quick handlers is handed back when they have become slow.
func TestWhatWouldWaitForLongIsSurplus(t *testing.T) {
	t.Parallel()
	h := newHeld(newCompany(30))
	l := newLoad(Settings{Concurrency: 30, HeldBytes: 100, MessageBytes: 50}, h, &progress{now: time.Now})
	l.noteRead(30, 30, 2*time.Millisecond, nil)
	h.buffered.Store(2000)
	for took, want := range map[time.Duration]int{time.Microsecond: 0, 10 * time.Millisecond: 0, time.Second: 2000} {
		l.known = false
		l.occupied(1, took)
		l.ahead()
		if got := l.surplus(); got != want {
			t.Errorf("%d surplus with handlers of %s, want %d", got, took, want)
		}
	}
	h.buffered.Store(30)
	if got := l.surplus(); got != 0 {
		t.Errorf("%d surplus of what is done within a second", got)
	}
}

// Where a suspect is held or was read there is room for less, until a read brings none; the most suspect is what is kept of a read.
func TestSuspectsLeaveLessRoom(t *testing.T) {
	t.Parallel()
	h := newHeld(newCompany(30))
	l := newLoad(Settings{Batch: 30, Concurrency: 30, Prefetch: 10, HeldBytes: 100, MessageBytes: 50}, h, &progress{now: time.Now})
	read := func(unanswered ...int32) (deliveries []*delivery) {
		for _, n := range unanswered {
			d := &delivery{}
			d.msg.Unanswered = n
			deliveries = append(deliveries, d)
		}
		return deliveries
	}
	room := func(want int) {
		t.Helper()
		if n, _ := l.want(); n.Messages != want {
			t.Fatalf("room for %d, want %d", n.Messages, want)
		}
	}
	room(30)
	kept, back := l.keep(read(0, 1, 0, 0, 2, 0, 1, 0)) // an eighth of forty
	if len(kept) != 5 || len(back) != 3 || kept[0].msg.Unanswered != 2 || kept[1].msg.Unanswered != 1 || kept[2].msg.Unanswered != 1 {
		t.Fatalf("%d are kept, the first after %d deliveries without an answer; %d are handed back", len(kept), kept[0].msg.Unanswered, len(back))
	}
	h.add(kept)
	room(0)
	for i, d := range kept {
		h.decide(d, leaving)
		h.drop(d)
		if want := []int{0, 0, 3, 4, 5}[i]; i >= 2 {
			room(want)
		}
	}
	if kept, back = l.keep(read(0, 0)); len(kept) != 2 || len(back) != 0 {
		t.Fatalf("%d kept, %d back of two that are not suspect", len(kept), len(back))
	}
	room(20)
	l.keep(nil)
	room(30)
	if kept, back = l.keep(read(3, 0, 0)); len(kept) != 1 || len(back) != 2 || kept[0].msg.Unanswered != 3 {
		t.Fatalf("%d kept, %d back, to be alone", len(kept), len(back))
	}
	h.add(kept)
	for range 5 {
		l.keep(nil)
	}
	room(0) // as long as it is here
	h.decide(kept[0], acking)
	room(30)
}
