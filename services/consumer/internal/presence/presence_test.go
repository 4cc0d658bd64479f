package presence

import (
	"log/slog"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/lease"
	"orderflow.example/services/consumer/internal/message"
)

// Whoever sleeps until it may be time for a report and finds none to be due would look at once again, and again. Here a second has a hundred moments.
func TestWhenToLookIsNotOverUntilAReportIsDue(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		held      bool
		completes int    // an order in so many moments; 0: none
		refused   string // what the database says of reports
	}{
		"idle":                              {},
		"a handler takes long":              {held: true},
		"orders are completed":              {held: true, completes: 70},
		"many are":                          {held: true, completes: 3},
		"a handler takes long, and refused": {held: true, refused: "no such table"},
		"idle, and refused":                 {refused: "no such table"},
	} {
		held := lease.NewSet(4)
		if test.held {
			held.Add([]*lease.Delivery{lease.New(&message.Message{ID: 1}, time.Now(), time.Now(), time.Hour)})
		}
		p := New("c", 4, time.Hour, held, func() bool { return false }, slog.New(slog.DiscardHandler))
		now := time.Now()
		until, looks, reports := now, 0, 0
		for moment := range 1000 {
			now = now.Add(10 * time.Millisecond)
			if test.completes > 0 && moment%test.completes == 0 {
				p.Completed()
			}
			if until = p.Sooner(now, until); until.After(now) {
				continue
			}
			looks++
			if p.Due(now) != nil {
				reports++
				p.Reported(test.refused)
			}
			if until = p.Sooner(now, now.Add(time.Hour)); !until.After(now) {
				t.Fatalf("%s: after a look it is time for another one, at once", name)
			}
		}
		if least := map[bool]int{false: 1, true: 4}[test.held && test.refused == ""]; reports < least || looks > 12 {
			t.Errorf("%s: %d looks and %d reports in ten seconds", name, looks, reports)
		}
	}
}
