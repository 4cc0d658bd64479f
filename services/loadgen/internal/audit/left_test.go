package audit_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
)

// keeping is an api whose orders are completed, and whose queue still holds messages.
type keeping struct {
	*table
	asked  int
	answer func(asked int) client.Queue // but for AsOf, which is now
}

func (k *keeping) Queue(context.Context) (client.Queue, error) {
	k.asked++
	q := k.answer(k.asked)
	q.AsOf = time.Now()
	return q, nil
}

// A consumer that completes orders and leaves their messages in the queue is found out, also where these do not come back while the audit
// waits. Where the messages may be somebody else's, or may be about to go, they are no fault: the account says that they are there.
func TestMessagesOfSettledOrdersAreNotLeftInTheQueue(t *testing.T) {
	t.Parallel()
	const size, kept = 20, 3
	stays := func(sent int64) func(int) client.Queue {
		return func(int) client.Queue { return client.Queue{Depth: kept, Sent: sent} }
	}
	empty := func() *client.Queue { return &client.Queue{Sent: 500} }
	for name, c := range map[string]struct {
		before   *client.Queue
		answer   func(asked int) client.Queue
		stranger bool // an order of another client's stands between
		patience time.Duration
		left     int
	}{
		"the run's own":                               {empty(), stays(500 + size), false, time.Minute, kept},
		"the run's own, with less patience":           {empty(), stays(500 + size), false, 5 * time.Second, kept},
		"nobody knows what there was before":          {nil, stays(500 + size), false, time.Minute, 0},
		"there were some before":                      {&client.Queue{Depth: 1, Sent: 500}, stays(500 + size), false, time.Minute, 0},
		"another program has sent some as well":       {empty(), stays(500 + size + kept), false, time.Minute, 0},
		"the api does not say how many were sent":     {&client.Queue{}, stays(0), false, time.Minute, 0},
		"another client's was on its way before":      {empty(), stays(500 + size), true, time.Minute, 0},
		"they become fewer":                           {empty(), func(n int) client.Queue { return client.Queue{Depth: max(kept, 8-n), Sent: 500 + size} }, false, time.Minute, 0},
		"there was no time to see whether they stay":  {empty(), stays(500 + size), false, time.Second / 2, 0},
		"they are gone when the queue is asked again": {empty(), func(n int) client.Queue { return client.Queue{Depth: max(0, kept+1-n), Sent: 500 + size} }, false, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &keeping{table: newTable(), answer: c.answer}
				for n := range size {
					if n == size/2 && c.stranger {
						api.others(1)
					}
					api.own()
				}
				o := audit.DefaultOptions(c.patience)
				o.Before = c.before
				r, err := audit.New(api, o, audit.Part{Keys: api.keys, Ledger: api.ledger}).Run(t.Context())
				if err != nil || r.Completed != size || r.Left != c.left {
					t.Errorf("%v: %s, %d left, want %d", err, r.String(), r.Left, c.left)
				}
				gone := api.answer(api.asked).Depth == 0
				if said := len(r.Notes) == 1 && strings.Contains(r.Notes[0], "the queue still held 3 messages"); said != (c.left == 0 && !gone) || len(r.Notes) > 1 {
					t.Errorf("notes: %q", r.Notes)
				}
			})
		})
	}
}
