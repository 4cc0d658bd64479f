package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// An order's history has to explain what became of it. It is read through the api, for every order that was not simply completed at its
// first attempt, and held against the order, against itself and against what the consumers have logged.

// story is what GET /orders/{id}/history answers, as far as it is judged.
type story struct {
	OrderID  int64   `json:"order_id"`
	Status   string  `json:"status"`
	Attempts int     `json:"attempts"`
	Events   []event `json:"events"`
}

type event struct {
	Event     string `json:"event"`
	Attempt   int    `json:"attempt"`
	Times     int    `json:"times"`
	MessageID int64  `json:"message_id"`
	Delivery  int    `json:"delivery"`

	At        time.Time  `json:"at"`
	DueAt     *time.Time `json:"due_at"`
	LeasedAt  *time.Time `json:"leased_at"`
	StartedAt *time.Time `json:"started_at"`
	SettledAt *time.Time `json:"settled_at"`
	RetryAt   *time.Time `json:"retry_at"`
}

// answered are the ends of attempts that a consumer has answered for, and logged. These are all that is a failure.
var answered = []string{"failed", "timed_out", "panicked", "permanent"}

// queuedSlack is how far the times of an order and of its message may be apart: they are written by one statement.
const queuedSlack = 5 * time.Second

// wrong says what the story does not explain, nothing when it explains all.
func (s *story) wrong() string {
	if len(s.Events) < 3 || s.Events[0].Event != "accepted" || s.Events[1].Event != "queued" {
		return "it does not begin with its acceptance and end with its end"
	}
	if s.Events[1].At.Before(s.Events[0].At) {
		return "it was queued before it was accepted"
	}
	// A dead letter that is deleted leaves its order dead.
	if last := s.Events[len(s.Events)-1].Event; last != s.Status && (last != "deleted" || s.Status != "dead") {
		return fmt.Sprintf("the order is %s, and the last event is %s", s.Status, last)
	}
	told, late := 0, 0
	due, exact, omitted := s.Events[1].At, false, false // since when the message could be read; exact: as the event before says
	for i, e := range s.Events[2:] {
		switch e.Event {
		case "redriven", "requeued":
			told, late, due, exact, omitted = 0, 0, e.At, false, false
			continue
		case "omitted":
			omitted, exact = true, false
			continue
		case "dead", "deleted":
			continue
		case "lease_lost":
			late++
		}
		if e.Attempt > 0 {
			told++
		}
		if at := e.outOfOrder(); at != "" {
			return fmt.Sprintf("event %d (%s): %s", i+2, e.Event, at)
		}
		if e.DueAt != nil && e.Event != "lease_lost" {
			if apart := e.DueAt.Sub(due).Abs(); exact && apart != 0 || apart > queuedSlack && !omitted {
				return fmt.Sprintf("event %d (%s): it was due at %s, and nothing says why not at %s", i+2, e.Event, e.DueAt, due)
			}
		}
		if e.RetryAt != nil {
			due, exact = *e.RetryAt, true
		}
	}
	// An answer that came when another consumer was at work already leaves a count that is none (docs/decisions/0011).
	if missing := s.Attempts - told; !omitted && (missing < 0 || missing > late) {
		return fmt.Sprintf("the order has had %d attempts, and %d are told", s.Attempts, told)
	}
	return ""
}

// outOfOrder says which two times of a delivery are the wrong way round.
func (e *event) outOfOrder() string {
	type moment struct {
		name string
		at   *time.Time
	}
	last := moment{"nothing", &time.Time{}}
	for _, m := range []moment{{"due", e.DueAt}, {"leased", e.LeasedAt}, {"started", e.StartedAt}, {"ended", &e.At}, {"settled", e.SettledAt}} {
		if m.at == nil {
			continue
		}
		if m.at.Before(*last.at) {
			return fmt.Sprintf("%s at %s, before it was %s at %s", m.name, m.at, last.name, last.at)
		}
		last = m
	}
	return ""
}

// failure is an attempt of an order that has failed.
type failure struct {
	order   int64
	attempt int
}

// failures are those that the consumers have logged.
type failures struct {
	mu     sync.Mutex
	logged map[failure]bool
}

// sayFailed are what lines say that are logged of each failure, before it is written: of a handler's, of one that does not come back, and of
// a result that cannot be stored.
var sayFailed = []string{"processing failed", "handler ignores its deadline", "refuses to store the result"}

// note reads a line of a log.
func (f *failures) note(text string) {
	if !slices.ContainsFunc(sayFailed, func(words string) bool { return strings.Contains(text, words) }) {
		return
	}
	var line struct {
		OrderID int64 `json:"order_id"`
		Attempt int   `json:"attempt"`
	}
	if json.Unmarshal([]byte(text), &line) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logged == nil {
		f.logged = map[failure]bool{}
	}
	f.logged[failure{line.OrderID, line.Attempt}] = true
}

// disagree returns what the logs and the stories tell differently. What was logged and could not be written is told otherwise: by a lease
// that ran out, or was handed back. Of an order without a story nothing may have been logged.
func (f *failures) disagree(stories []story) (wrong []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := make(map[failure]bool, len(f.logged))
	for l := range f.logged {
		left[l] = true
	}
	for _, s := range stories {
		otherwise := slices.ContainsFunc(s.Events, func(e event) bool {
			return slices.Contains([]string{"unanswered", "crashed", "lease_lost", "released", "omitted"}, e.Event)
		})
		for _, e := range s.Events {
			told := failure{s.OrderID, e.Attempt}
			if slices.Contains(answered, e.Event) && !f.logged[told] {
				wrong = append(wrong, fmt.Sprintf("order %d: attempt %d is told as %s, and no consumer has logged that", s.OrderID, e.Attempt, e.Event))
			}
			if slices.Contains(answered, e.Event) || e.Attempt > 0 && otherwise {
				delete(left, told)
			}
		}
		if otherwise {
			for l := range left {
				if l.order == s.OrderID {
					delete(left, l)
				}
			}
		}
	}
	for l := range left {
		wrong = append(wrong, fmt.Sprintf("order %d: attempt %d has failed, a consumer says, and its story does not tell", l.order, l.attempt))
	}
	slices.Sort(wrong)
	return wrong
}

// toldOfSQL finds the orders that have something to tell, and those of which somebody has told something.
const toldOfSQL = `
select o.id
from public.orders o
where o.status <> 'completed' or o.attempts <> 1 or exists (select from orderflow.history h where h.order_id = o.id and h.created_at = o.created_at)
order by o.id`

// readStories reads them through the api.
func (r *Rig) readStories(ctx context.Context) ([]story, error) {
	ids, err := r.ids(ctx, toldOfSQL)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	stories := make([]story, len(ids))
	for i, id := range ids {
		if err := readStory(ctx, client, r.api.URL(), id, &stories[i]); err != nil {
			return nil, err
		}
	}
	return stories, nil
}

// readStory reads one. The api may not have noticed yet that the fault is over: then it is asked again.
func readStory(ctx context.Context, client *http.Client, api string, id int64, into *story) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		away, err := tryStory(ctx, client, api, id, into)
		if !away {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// tryStory asks once; away: the api says that its database is.
func tryStory(ctx context.Context, client *http.Client, api string, id int64, into *story) (away bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/orders/%d/history", api, id), http.NoBody)
	if err != nil {
		return false, fmt.Errorf("read a story: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return false, fmt.Errorf("read a story: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode == http.StatusServiceUnavailable, fmt.Errorf("the story of order %d is answered %s", id, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return false, fmt.Errorf("read the story of order %d: %w", id, err)
	}
	return false, nil
}

// judgeStories holds them against the orders and the logs.
func (r *Result) judgeStories(stories []story, logged *failures) {
	var unexplained []string
	for i := range stories {
		if wrong := stories[i].wrong(); wrong != "" {
			unexplained = append(unexplained, fmt.Sprintf("order %d: %s", stories[i].OrderID, wrong))
		}
	}
	r.measured(len(unexplained) == 0, "orders that were not completed at once, and are explained by their history", explained(len(stories), unexplained), len(stories))
	disagree := logged.disagree(stories)
	r.check(len(disagree) == 0, "what history and logs tell differently", excerpt(disagree), "nothing")
}

func explained(all int, unexplained []string) string {
	if len(unexplained) == 0 {
		return fmt.Sprint(all)
	}
	return fmt.Sprintf("all but %s", excerpt(unexplained))
}

// excerpt is how many there are, and some of them.
func excerpt(lines []string) string {
	const most = 5
	return strings.Join(append([]string{fmt.Sprint(len(lines))}, lines[:min(len(lines), most)]...), "; ")
}
