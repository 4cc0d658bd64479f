package worker

import (
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/queue"
)

func TestPrefetchAdaptsToHowLongHandlersTake(t *testing.T) {
	t.Parallel()
	s := Settings{Batch: 30, Concurrency: 30, HeldBytes: 100, MessageBytes: 50}
	h := newHeld()
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
