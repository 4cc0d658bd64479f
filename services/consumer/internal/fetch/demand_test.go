package fetch

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/health"
	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// went is a read that wanted so many messages, got so many and took so long of three seconds.
func went(wanted, got int, took time.Duration) readResult {
	return readResult{wanted: wanted, got: got, took: took, might: 3 * time.Second}
}

// wants is what the fetcher asks on each of its turns.
func wants(p *Demand, held lease.Counts) (want queue.Bounds, ahead int) {
	p.learn()
	return p.want(held)
}

func TestPrefetchAdaptsToHowLongHandlersTake(t *testing.T) {
	t.Parallel()
	s := Limits{Batch: 30, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}
	var held lease.Counts
	p := NewDemand(s, health.NewProgress(time.Now))
	if n, ahead := wants(p, held); n.Messages != 30 || n.Bytes != 100 || n.MessageBytes != 50 || ahead != 0 {
		t.Fatalf("at first %+v with %d ahead: as many as there are workers", n, ahead)
	}
	p.noteRead(went(30, 30, 2*time.Millisecond), nil)
	for took, want := range map[time.Duration]int{time.Second: 0, 10 * time.Millisecond: 48} { // what 30 workers do in eight round trips
		for range 100 {
			p.Occupied(1, took)
			p.learn()
		}
		if got := p.ahead(); got < want-1 || got > want {
			t.Fatalf("%d ahead of handlers that take %s, want %d", got, took, want)
		}
	}
	for range 100 {
		p.Occupied(1, 10*time.Microsecond)
		p.learn()
	}
	if got := p.ahead(); got != 60 {
		t.Fatalf("%d ahead of quick handlers, want two batches", got)
	}
	held.InFlight, held.Buffered = 30, 50
	if n, _ := wants(p, held); n.Messages != 0 {
		t.Fatalf("%+v wanted while the buffer is full enough", n)
	}
	held.Buffered = 20
	if n, _ := wants(p, held); n.Messages != 30 {
		t.Fatalf("%+v wanted", n)
	}
	held.Bytes = 60
	if n, _ := wants(p, held); n.Bytes != 40 {
		t.Fatalf("%+v wanted while 60 of 100 bytes are held", n)
	}
	held.Bytes = 100
	if n, _ := wants(p, held); n.Messages != 0 {
		t.Fatalf("%+v wanted though memory is full", n)
	}
	held.Bytes = 0
	held.Held = p.mostHeld
	if n, _ := wants(p, held); n.Messages != 0 {
		t.Fatalf("%+v wanted though nothing can be written back", n)
	}
	s.Prefetch = 3
	if got := NewDemand(s, health.NewProgress(time.Now)).ahead(); got != 3 {
		t.Fatalf("%d ahead, told 3", got)
	}
}

// For how long all workers have been stuck is counted from when the last of them was, however often it is looked.
func TestStuckWorkersAreTimedFromTheirBeginning(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stuck := health.NewProgress(func() time.Time { return now })
	p := NewDemand(Limits{Concurrency: 2, HeldBytes: 100, MessageBytes: 50}, stuck)
	for n, overdue := range []bool{false, false, true} {
		wants(p, lease.Counts{Stuck: 2})
		if is := stuck.Overdue() > 0; is != overdue {
			t.Errorf("look %d, 50 seconds after the one before: overdue %t", n, is)
		}
		now = now.Add(50 * time.Second)
	}
	if wants(p, lease.Counts{Stuck: 1}); stuck.Overdue() > 0 {
		t.Error("it is overdue although a worker is free")
	}
}

// A handler that leaves work to the ack has occupied its worker, too: its time counts with the message, which is done when the work is.
func TestTheTimeOfWhoLeavesWorkCounts(t *testing.T) {
	t.Parallel()
	p := NewDemand(Limits{Concurrency: 5, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	p.noteRead(went(5, 5, 2*time.Millisecond), nil)
	p.Occupied(0, 10*time.Second)
	p.Occupied(1, 7*time.Millisecond)
	p.learn()
	if got := p.ahead(); got != 0 {
		t.Errorf("%d ahead of handlers that take ten seconds", got)
	}
}

// Without BATCH_SIZE the size of reads follows from how long handlers take; what is set is the most.
func TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes(t *testing.T) {
	t.Parallel()
	reads := func(p *Demand, times int, took time.Duration) (sizes []int) {
		for range times {
			want, _ := wants(p, lease.Counts{})
			sizes = append(sizes, want.Messages)
			p.noteRead(went(want.Messages, want.Messages, 2*time.Millisecond), nil)
			p.Occupied(max(want.Messages, 1), took*time.Duration(max(want.Messages, 1))) // done at once, so nothing waits
		}
		return sizes
	}
	fresh := func(batch int) *Demand {
		return NewDemand(Limits{Batch: batch, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	}
	p := fresh(0)
	if got, want := reads(p, 8, time.Microsecond), []int{30, 60, 120, 240, 480, 960, 1000, 1000}; !slices.Equal(got, want) {
		t.Errorf("reads of %v with quick handlers, want %v", got, want)
	}
	if _, ahead := wants(p, lease.Counts{}); ahead != 2000 {
		t.Errorf("%d ahead, want two reads", ahead)
	}
	// Handlers that have become slow: nothing ahead any more, and growing begins anew.
	if got := reads(p, 40, time.Second); got[39] != 30 {
		t.Errorf("reads of %v with slow handlers", got)
	}
	p.learn()
	p.known = false
	if got, want := reads(p, 3, time.Microsecond), []int{30, 60, 120}; !slices.Equal(got, want) {
		t.Errorf("reads of %v when they are quick again, want %v", got, want)
	}
	// A read that brings less than it might shows that there is no more.
	p = fresh(0)
	reads(p, 1, time.Microsecond)
	for range 10 {
		p.noteRead(went(60, 7, 2*time.Millisecond), nil)
	}
	if want, _ := wants(p, lease.Counts{}); want.Messages != 60 {
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
	p := NewDemand(Limits{Concurrency: 1000, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	p.noteRead(went(1000, 0, 3*time.Second), &pgconn.PgError{Code: pgerrcode.QueryCanceled})
	if want, _ := wants(p, lease.Counts{}); want.Messages != 500 {
		t.Fatalf("%d wanted", want.Messages)
	}
	p.noteRead(went(500, 500, time.Second), nil)
	if want, _ := wants(p, lease.Counts{}); want.Messages != 563 {
		t.Fatalf("%d wanted after one that worked", want.Messages)
	}
	p.noteRead(went(563, 0, time.Second), errors.New("connection lost"))
	if want, _ := wants(p, lease.Counts{}); want.Messages != 563 {
		t.Fatalf("%d wanted after a loss", want.Messages)
	}
	p.noteRead(went(563, 0, 3*time.Second), fmt.Errorf("%w: %w", pg.ErrNoAnswer, errors.New("use of closed network connection")))
	if want, _ := wants(p, lease.Counts{}); want.Messages != 281 {
		t.Fatalf("%d wanted after one that had no answer in time", want.Messages)
	}
	for _, slow := range []struct {
		got  int
		took time.Duration
	}{{281, 2 * time.Second}, {100, time.Millisecond}} {
		p.noteRead(went(281, slow.got, slow.took), nil)
		if want, _ := wants(p, lease.Counts{}); want.Messages != 281 {
			t.Fatalf("%d wanted after %d in %s", want.Messages, slow.got, slow.took)
		}
	}
}

// Whatever the server says, one row may be at fault: it is looked for by reads of half as many, without a pause, until there is nothing left to be
// found out by that.
func TestTheRowAtFaultIsLookedFor(t *testing.T) {
	t.Parallel()
	says := func(severity, code string) error { return &pgconn.PgError{Severity: severity, Code: code} }
	for name, test := range map[string]struct {
		err    error
		leased bool // it was the commit that failed
		looks  int  // without a pause, from a read of thirty on
	}{
		"an exception":                      {says("ERROR", "P0001"), false, 5},
		"a SQLSTATE of its own":             {says("ERROR", "SH001"), false, 5},
		"a right":                           {says("ERROR", "42501"), false, 5},
		"a connection of a trigger's":       {says("ERROR", "08001"), false, 5},
		"a lock":                            {says("ERROR", "55P03"), false, 5},
		"cut off":                           {says("ERROR", "57014"), false, 5},
		"no answer":                         {fmt.Errorf("%w: %w", pg.ErrNoAnswer, errors.New("use of closed network connection")), false, 5},
		"an exception, at the commit":       {says("ERROR", "P0001"), true, 5},
		"a right, at the commit":            {says("ERROR", "42501"), true, 0},
		"no answer, at the commit":          {fmt.Errorf("%w: %w", pg.ErrNoAnswer, errors.New("use of closed network connection")), true, 4},
		"a full disk":                       {says("ERROR", "53100"), false, 0},
		"a disk that cannot be read":        {says("ERROR", "58030"), false, 0},
		"the end of the session":            {says("FATAL", "57P01"), false, 0},
		"a full disk, and the server's end": {says("PANIC", "53100"), false, 0},
		"lost":                              {errors.New("connection lost"), false, 0},
		"no connection":                     {&pgconn.ConnectError{}, false, 0},
	} {
		p := NewDemand(Limits{Batch: 30, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
		looks := 0
		for looks <= 10 {
			want, _ := wants(p, lease.Counts{})
			r := went(want.Messages, 0, time.Millisecond)
			if test.leased {
				r.got = want.Messages
			}
			if !p.noteRead(r, test.err) {
				break
			}
			looks++
		}
		if found := p.unreadable != nil; looks != test.looks || found != (looks == 5) {
			t.Errorf("%s: %d looks, and a row that is at fault: %t", name, looks, found)
		}
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
			*Demand
			held    lease.Counts
			ends    []int // when handlers are done, in steps
			reading int   // messages that a read under way will bring
			until   int
			done    int
		}
		all := make([]*consumer, consumers)
		for i := range all {
			all[i] = &consumer{Demand: NewDemand(Limits{Concurrency: workers, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))}
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
					c.Occupied(1, test.handler)
				}
				c.ends = working
				if c.until == now && c.until > 0 {
					c.held.Buffered += c.reading
					c.noteRead(went(c.reading, c.reading, roundTrip), nil)
					c.until, c.reading = 0, 0
				}
				for len(c.ends) < workers && c.held.Buffered > 0 {
					c.held.Buffered--
					c.ends = append(c.ends, now+int(test.handler/step))
				}
				c.held.InFlight = len(c.ends)
				if c.until == 0 {
					want, _ := wants(c.Demand, c.held)
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
	p := NewDemand(Limits{Concurrency: 30, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	p.noteRead(went(30, 30, 2*time.Millisecond), nil)
	held := lease.Counts{Buffered: 2000}
	for took, want := range map[time.Duration]int{time.Microsecond: 0, 10 * time.Millisecond: 0, time.Second: 2000} {
		p.known = false
		p.Occupied(1, took)
		p.learn()
		if got := p.surplus(held); got != want {
			t.Errorf("%d surplus with handlers of %s, want %d", got, took, want)
		}
	}
	held.Buffered = 30
	if got := p.surplus(held); got != 0 {
		t.Errorf("%d surplus of what is done within a second", got)
	}
}

// Where a suspect is held or was read there is room for less, until a read brings none; the most suspect is what is kept of a read.
func TestSuspectsLeaveLessRoom(t *testing.T) {
	t.Parallel()
	h := lease.NewSet(30)
	p := NewDemand(Limits{Batch: 30, Concurrency: 30, Prefetch: 10, HeldBytes: 100, MessageBytes: 50}, health.NewProgress(time.Now))
	read := func(unanswered ...int32) (deliveries []*lease.Delivery) {
		for _, n := range unanswered {
			d := &lease.Delivery{}
			d.Message.Unanswered = n
			deliveries = append(deliveries, d)
		}
		return deliveries
	}
	room := func(want int) {
		t.Helper()
		if n, _ := wants(p, h.Counts()); n.Messages != want {
			t.Fatalf("room for %d, want %d", n.Messages, want)
		}
	}
	keep := func(read []*lease.Delivery, held lease.Counts) (kept, back []*lease.Delivery) {
		p.beware(read)
		return p.keep(read, held)
	}
	room(30)
	kept, back := keep(read(0, 1, 0, 0, 2, 0, 1, 0), h.Counts()) // an eighth of forty
	if len(kept) != 5 || len(back) != 3 || kept[0].Message.Unanswered != 2 || kept[1].Message.Unanswered != 1 || kept[2].Message.Unanswered != 1 {
		t.Fatalf("%d are kept, the first after %d deliveries without an answer; %d are handed back", len(kept), kept[0].Message.Unanswered, len(back))
	}
	h.Add(kept)
	room(0)
	for i, d := range kept {
		h.Decide(d, lease.Leaving)
		h.Drop(d)
		if want := []int{0, 0, 3, 4, 5}[i]; i >= 2 {
			room(want)
		}
	}
	if kept, back = keep(read(0, 0), h.Counts()); len(kept) != 2 || len(back) != 0 {
		t.Fatalf("%d kept, %d back of two that are not suspect", len(kept), len(back))
	}
	room(20)
	keep(nil, h.Counts())
	room(30)
	if kept, back = keep(read(3, 0, 0), h.Counts()); len(kept) != 1 || len(back) != 2 || kept[0].Message.Unanswered != 3 {
		t.Fatalf("%d kept, %d back, to be alone", len(kept), len(back))
	}
	h.Add(kept)
	for range 5 {
		keep(nil, h.Counts())
	}
	room(0) // as long as it is here
	h.Decide(kept[0], lease.Acking)
	room(30)
}
