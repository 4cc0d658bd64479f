package orders_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/orders"
)

// Two replicas write the same few keys at the same time, with the same or other values, alone and in batches. Whatever the
// interleaving: each key stands for one thing, everybody who sent that thing got it, and everybody else was refused.
func TestKeysMeanOneThingAcrossReplicas(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	replicas := []*bench{newWriterOn(t, url, url, nil), newWriterOn(t, url, url, nil)}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		type send struct {
			replica  int
			request  orders.Request
			variant  int
			result   orders.Result
			err      error
			settings string
		}
		sends := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *send {
			s := &send{replica: rapid.IntRange(0, 1).Draw(rt, "replica"), variant: rapid.IntRange(0, 1).Draw(rt, "variant")}
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			s.request = orders.Request{Key: fmt.Sprintf("%d-%s", round, key), Traceparent: traceparent, Batch: rapid.Bool().Draw(rt, "batch")}
			size := 1
			if s.request.Batch {
				size = rapid.IntRange(1, 3).Draw(rt, "size")
			}
			for i := range size {
				s.request.Orders = append(s.request.Orders, order(10*s.variant+i))
			}
			s.settings = fmt.Sprint(key, s.request.Batch)
			return s
		}), 2, 12).Draw(rt, "sends")

		var wg sync.WaitGroup
		for _, s := range sends {
			wg.Go(func() { s.result, s.err = replicas[s.replica].Write(s.request) })
		}
		wg.Wait()

		winners := map[string]*send{}
		fresh := map[string]int{}
		for _, s := range sends {
			switch {
			case errors.Is(s.err, orders.ErrKeyReused):
				continue
			case s.err != nil:
				rt.Fatalf("%+v: %v", s.request, s.err)
			case !s.result.Replayed:
				fresh[s.settings]++
			}
			winner := winners[s.settings]
			if winner == nil {
				winners[s.settings] = s
				continue
			}
			if len(winner.result.Orders) != len(s.result.Orders) || winner.result.Orders[0].ID != s.result.Orders[0].ID {
				rt.Fatalf("one key, two answers:\n%+v\n%+v", winner.result, s.result)
			}
		}
		for _, s := range sends {
			winner := winners[s.settings]
			if winner == nil || fresh[s.settings] != 1 {
				rt.Fatalf("key %s was written %d times", s.settings, fresh[s.settings])
			}
			same := winner.variant == s.variant && len(winner.request.Orders) == len(s.request.Orders)
			if same != (s.err == nil) {
				rt.Fatalf("%+v: %v, but the key stands for %+v", s.request, s.err, winner.request)
			}
		}
	})
	rows := replicas[0].count(t, `select count(*) from orders`)
	replicas[0].check(t, rows)
}
