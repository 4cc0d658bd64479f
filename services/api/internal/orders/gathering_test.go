package orders

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orderflow.example/kit/await"
)

func TestTransactionsWaitForCompanyOnlyWhereRequestsComeFast(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name               string
		every              time.Duration // a transaction
		requests, waiting  int           // in each, and at its end
		wait               time.Duration // of the next one, from the beginning of the last
		company            int
		secondsOfQuietness int
	}{
		{"one order now and then", time.Second, 1, 0, -1, 0, 0},
		{"200 a second, each alone", 5 * time.Millisecond, 1, 0, -1, 0, 0},
		{"one client without a pause", 400 * time.Microsecond, 1, 0, -1, 0, 0},
		{"one client of a quick disk: nobody else can come", 100 * time.Microsecond, 1, 0, gatherFor, 1, 0},
		{"2,000 a second", 700 * time.Microsecond, 1, 1, -1, 0, 0},
		{"5,000 a second", 700 * time.Microsecond, 4, 3, gatherFor, 7, 0},
		{"5,000 a second that wait for each other", 2 * time.Millisecond, 10, 3, gatherFor, 13, 0},
		{"64 clients without a pause", 900 * time.Microsecond, 25, 39, gatherFor, gatherOrders, 0},
		{"after a crowd", 900 * time.Microsecond, 25, 39, -1, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var p pace
			now := begin
			for range 200 {
				now = now.Add(test.every)
				p.begin(now, test.requests)
				p.end(test.waiting)
			}
			if test.secondsOfQuietness > 0 {
				now = now.Add(time.Duration(test.secondsOfQuietness) * time.Second)
				p.begin(now, 1)
				p.end(0)
			}
			until, company := p.next()
			if test.wait < 0 {
				if !until.IsZero() {
					t.Errorf("waits %v for %d", until.Sub(now), company)
				}
				return
			}
			if until.Sub(now) != test.wait || company != test.company {
				t.Errorf("waits %v for %d, not %v for %d", until.Sub(now), company, test.wait, test.company)
			}
		})
	}
}

func TestATransactionHasAtMostSoManyOrdersOrOneRequestThatIsLarger(t *testing.T) {
	t.Parallel()
	w := NewWriter(WriterConfig{MaxQueue: 1000, MaxBatch: 100}, nil)
	for _, orders := range []int{60, 40, 1, 150, 99, 2, 98} {
		if err := w.enqueue(newUnit(Request{Orders: make([]Draft, orders)}, time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	var got [][]int
	for len(w.waiting) > 0 {
		var sizes []int
		for _, u := range w.take(nil) {
			sizes = append(sizes, len(u.Orders))
		}
		got = append(got, sizes)
	}
	if want := "[[60 40] [1] [150] [99] [2 98]]"; fmt.Sprint(got) != want || w.Queued() != 0 {
		t.Errorf("got %v, want %s; %d are left", got, want, w.Queued())
	}
}

// Nothing but what a gathering waits for ends it: its time does not come within this test.
func TestGatheringEndsWithWhomItWaitsFor(t *testing.T) {
	t.Parallel()
	request := func(orders int) *unit { return newUnit(Request{Orders: make([]Draft, orders)}, time.Minute) }
	gathering := func(t *testing.T, clients int) (w *Writer, ended chan struct{}, stop context.CancelFunc) {
		t.Helper()
		w = NewWriter(WriterConfig{MaxQueue: 1000, MaxBatch: 100}, nil)
		w.pace = pace{began: time.Now().Add(time.Hour), recent: 1e6, clients: clients}
		if err := w.enqueue(request(1)); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended = make(chan struct{})
		go func() {
			w.gather(ctx)
			close(ended)
		}()
		await.True(t, "it waits, if for anybody", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return clients == 1 || w.expected == clients
		})
		return w, ended, stop
	}
	wait := func(t *testing.T, ended chan struct{}) {
		t.Helper()
		await.Value(t, "it ends", ended)
	}
	add := func(t *testing.T, w *Writer, orders int) {
		t.Helper()
		if err := w.enqueue(request(orders)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("nobody else is around", func(t *testing.T) {
		t.Parallel()
		_, ended, _ := gathering(t, 1)
		wait(t, ended)
	})
	t.Run("all have come", func(t *testing.T) {
		t.Parallel()
		w, ended, _ := gathering(t, 3)
		add(t, w, 1)
		select {
		case <-ended:
			t.Error("it has not waited for the third one")
		default:
		}
		add(t, w, 1)
		wait(t, ended)
		if n := len(w.take(nil)); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("there are enough orders", func(t *testing.T) {
		t.Parallel()
		w, ended, _ := gathering(t, 10)
		add(t, w, gatherOrders-1)
		wait(t, ended)
	})
	t.Run("the program ends", func(t *testing.T) {
		t.Parallel()
		_, ended, stop := gathering(t, 10)
		stop()
		wait(t, ended)
	})
	t.Run("the next request wakes the writer", func(t *testing.T) {
		t.Parallel()
		w, ended, stop := gathering(t, 10)
		stop()
		wait(t, ended)
		add(t, w, 1)
		select {
		case <-w.wake:
		default:
			t.Error("it does not")
		}
	})
}
