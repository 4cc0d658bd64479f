package queue

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A redrive stops between two batches, and says what it has done and why it does not go on.
func TestARedriveSaysWhatItHasDone(t *testing.T) {
	t.Parallel()
	batches := [][]int64{{1, 2}, {3}, {4, 5}}
	failed := errors.New("failed")
	for name, test := range map[string]struct {
		took       time.Duration // of each batch
		drainsAt   int           // batches after which the service shuts down
		failsAt    int
		tried      int
		incomplete string
		err        error
	}{
		"all of it":           {drainsAt: 9, failsAt: 9, tried: 5},
		"slow":                {took: redriveTime / 2, drainsAt: 9, failsAt: 9, tried: 5},
		"slower":              {took: redriveTime/2 + time.Second, drainsAt: 9, failsAt: 9, tried: 3, incomplete: "it takes longer than one call may"},
		"one is all its time": {took: redriveTime + time.Second, drainsAt: 9, failsAt: 9, tried: 2, incomplete: "it takes longer than one call may"},
		"shut down at once":   {drainsAt: 0, failsAt: 9, tried: 2, incomplete: "shutting down"},
		"shut down later":     {drainsAt: 2, failsAt: 9, tried: 3, incomplete: "shutting down"},
		"fails at once":       {drainsAt: 9, failsAt: 0, err: failed},
		"fails later":         {drainsAt: 9, failsAt: 2, tried: 3, err: failed},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			done, err := RedriveAll(batches, func() bool { return calls >= test.drainsAt }, func(ids []int64) (moved []Redriven, err error) {
				if calls == test.failsAt {
					return nil, failed
				}
				calls++
				time.Sleep(test.took) //nolint:forbidigo // the bubble's clock, which nobody waits for
				for _, id := range ids {
					moved = append(moved, Redriven{MsgID: id})
				}
				return moved, nil
			})
			if done.Tried != test.tried || len(done.Moved) != test.tried || done.Incomplete != test.incomplete || !errors.Is(err, test.err) {
				t.Errorf("%s: %+v, %v", name, done, err)
			}
		})
	}
}
