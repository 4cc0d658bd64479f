package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// An attempt is a start of a handler. Consumers say of each start, before it, which order and which delivery it is for: a process that is
// killed in the next moment has said so. What they have said is held against each order of the run: against its count of attempts and
// against its history.

// delivery is one read of a message.
type delivery struct {
	message int64
	number  int // read_ct
}

// starts are those that consumers have told of, of each order.
type starts struct {
	mu     sync.Mutex
	orders map[int64]map[delivery]int
}

// countsStarts says whether this fault's consumers tell of each start. Not where what it costs to tell is measured, or adds to it; and
// where the database may go back, a delivery may have the number of one that it has forgotten.
func (r *Rig) countsStarts() bool {
	return !r.fault.Loses && !r.fault.Measures && r.group == nil && r.managed == nil
}

// note reads a line of a log.
func (s *starts) note(text string) {
	if !strings.Contains(text, `"msg":"handler is started"`) {
		return
	}
	var line struct {
		OrderID  int64 `json:"order_id"`
		MsgID    int64 `json:"msg_id"`
		Delivery int   `json:"delivery"`
	}
	if json.Unmarshal([]byte(text), &line) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders == nil {
		s.orders = map[int64]map[delivery]int{}
	}
	if s.orders[line.OrderID] == nil {
		s.orders[line.OrderID] = map[delivery]int{}
	}
	s.orders[line.OrderID][delivery{line.MsgID, line.Delivery}]++
}

// of is how many starts there were of an order's handler.
func (s *starts) of(order int64) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.orders[order] {
		n += times
	}
	return n
}

// all is how many starts there were.
func (s *starts) all() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, deliveries := range s.orders {
		n += len(deliveries)
	}
	return n
}

// disagree returns what starts and orders tell differently. plain are the orders that say that they were completed at their first attempt
// and have nothing else to tell: each has been started once. Of the others, stories tell of each delivery but the one that completed the
// order.
func (s *starts) disagree(plain []int64, stories []story) (wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	say := func(order int64, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("order %d: ", order)+fmt.Sprintf(format, args...))
	}
	known := make(map[int64]bool, len(plain)+len(stories))
	for order, deliveries := range s.orders {
		for d, times := range deliveries {
			if times > 1 {
				say(order, "delivery %d of message %d was started %d times", d.number, d.message, times)
			}
		}
	}
	for _, order := range plain {
		known[order] = true
		if n := len(s.orders[order]); n != 1 {
			say(order, "completed at its first attempt, and started %d times", n)
		}
	}
	for i := range stories {
		known[stories[i].OrderID] = true
		if problem := stories[i].explains(s.orders[stories[i].OrderID]); problem != "" {
			say(stories[i].OrderID, "%s", problem)
		}
	}
	for order := range s.orders {
		if !known[order] {
			say(order, "started, and nobody knows it")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// explains holds a story against the deliveries of its order that were started; it returns what it does not explain.
func (s *story) explains(started map[delivery]int) string {
	told := map[delivery]bool{}
	counted, ended := 0, 0
	for _, e := range s.Events {
		d := delivery{e.MessageID, e.Delivery}
		switch {
		case e.Event == "omitted":
			return ""
		case e.Event == "redriven":
			counted = 0
			continue
		case e.Event == "completed":
			ended++
			counted++
			continue
		case e.Delivery == 0:
			continue
		}
		if e.Attempt > 0 {
			counted++
		}
		if began := e.Attempt > 0 || e.StartedAt != nil; began && started[d] == 0 {
			return fmt.Sprintf("delivery %d is told as %s, an attempt, and was never started", d.number, e.Event)
		} else if e.Event == "released" && !began && started[d] > 0 {
			return fmt.Sprintf("delivery %d is told as handed back unstarted, and was started", d.number)
		}
		told[d] = true
	}
	untold := 0
	for d := range started {
		if !told[d] {
			untold++
		}
	}
	if untold != ended {
		return fmt.Sprintf("%d of its deliveries were started and nothing is told of them, where %d has completed it", untold, ended)
	}
	if counted > len(started) {
		return fmt.Sprintf("%d attempts are counted, and %d were started", counted, len(started))
	}
	return ""
}

// plainSQL are the orders of which toldOfSQL has nothing.
const plainSQL = `
select o.id
from public.orders o
where o.status = 'completed' and o.attempts = 1 and not exists (select from orderflow.history h where h.order_id = o.id and h.created_at = o.created_at)`

// judgeStarts holds every order of the run against the starts of its handler.
func (r *Rig) judgeStarts(ctx context.Context, stories []story) error {
	plain, err := r.ids(ctx, plainSQL)
	if err != nil {
		return err
	}
	// A line is on its way for a moment after what it says has been done.
	var wrong []string
	patience, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = r.until(patience, "the consumers' last lines", func() (bool, error) {
		wrong = r.starts.disagree(plain, stories)
		return len(wrong) == 0, nil
	})
	r.measured(len(wrong) == 0, fmt.Sprintf("orders whose attempts are starts of their handler (%d starts)", r.starts.all()),
		explained(len(plain)+len(stories), wrong), len(plain)+len(stories))
	return nil
}
