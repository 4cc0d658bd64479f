package worker

import (
	"testing"
	"time"

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
	for range 100 {
		l.worked(1, time.Second)
		l.ahead()
	}
	if got := l.ahead(); got != 7 {
		t.Fatalf("%d ahead of handlers that take a second", got)
	}
	for range 100 {
		l.worked(1, 10*time.Microsecond)
		l.ahead()
	}
	if got := l.ahead(); got != 60 {
		t.Fatalf("%d ahead of quick handlers, want two batches", got)
	}
	h.working.Store(30)
	h.waiting.Store(50)
	if n, _ := l.want(); n.Messages != 0 {
		t.Fatalf("%+v wanted while the buffer is full enough", n)
	}
	h.waiting.Store(20)
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
