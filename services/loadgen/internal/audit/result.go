package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
)

// Result is the account. Accepted is always the sum of Completed, Dead, Lost and Stuck.
type Result struct {
	Accepted   int `json:"accepted"`   // answered 201
	Completed  int `json:"completed"`  // processed
	Dead       int `json:"dead"`       // given up by the consumer, in the dead letters
	Lost       int `json:"lost"`       // accepted, and not there
	Duplicated int `json:"duplicated"` // had their effect more than once, or exist more than once
	Stuck      int `json:"stuck"`      // still pending when the audit's patience was over
	NoEffect   int `json:"no_effect"`  // completed, with no effect recorded, where others have one

	Unknown      Unknown `json:"unknown"`       // never answered
	Refused      int     `json:"refused"`       // answered with a 4xx
	RefusedFound int     `json:"refused_found"` // and there all the same

	Examples []Example `json:"examples,omitempty"`
	Notes    []string  `json:"notes,omitempty"`

	E2E      *measure.Histogram `json:"-"`
	Drain    time.Duration      `json:"-"` // from the last order's creation to the last one's completion, by the server's clock
	HasDrain bool               `json:"-"`
	Took     time.Duration      `json:"-"`
	Requests int64              `json:"requests"` // that the audit needed
}

// Unknown counts the orders that no try brought an answer for, by what the audit found.
type Unknown struct {
	Orders    int `json:"orders"`
	Completed int `json:"found_completed"`
	Dead      int `json:"found_dead"`
	Pending   int `json:"found_pending"`
	Missing   int `json:"not_found"`
}

// Example is one order that something is wrong with.
type Example struct {
	Fault     string    `json:"fault"` // lost, duplicated, stuck, unknown, refused_found, no_effect
	Index     int       `json:"index"`
	N         int       `json:"n"`
	Key       string    `json:"key"`
	ID        int64     `json:"id,omitempty"`
	SentAt    time.Time `json:"sent_at,omitzero"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Status    string    `json:"status,omitempty"`
	Attempts  int64     `json:"attempts,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// maxExamples is how many examples each fault gets.
const maxExamples = 10

// Line is the account in one line: the last one of the command's output.
func (r *Result) Line() string {
	return fmt.Sprintf("audit: accepted=%d completed=%d dead=%d lost=%d duplicated=%d", r.Accepted, r.Completed, r.Dead, r.Lost, r.Duplicated)
}

// tally is the account so far.
type tally struct {
	Accepted, Completed, Dead, Lost, Duplicated, NoEffect int
	unknown                                               Unknown
	refused, refusedFound                                 int
	unsettled                                             int // orders whose fate is open
	unconfirmed                                           int // missing once
	missing                                               int
}

func (a *Auditor) tally() tally {
	var t tally
	completedOnes := 0
	for _, b := range a.books {
		for n, m := range b.marks {
			a.count(&t, b, n, m)
			if m&completed != 0 {
				completedOnes++
			}
		}
	}
	// A server that shows 0 effects for every completed order does not count them.
	if t.NoEffect == completedOnes {
		t.NoEffect = 0
	}
	return t
}

func (a *Auditor) count(t *tally, b *book, n int, m mark) {
	if b.open(n) {
		if m&missed != 0 {
			t.unconfirmed++
		} else {
			t.unsettled++
		}
	}
	if m&(missed|lost) != 0 {
		t.missing++
	}
	if m&noEffect != 0 {
		t.NoEffect++
	}
	there := b.adopt[n] != 0 && m&lost == 0
	if m&lost == 0 && (m&twice != 0 || len(b.extra[n]) > 0) {
		t.Duplicated++
	}
	switch b.ledger.State(n) {
	case ledger.Accepted:
		t.Accepted++
		switch {
		case m&lost != 0:
			t.Lost++
		case m&completed != 0:
			t.Completed++
		case m&dead != 0:
			t.Dead++
		}
	case ledger.Refused:
		t.refused++
		if there {
			t.refusedFound++
		}
	case ledger.Sent:
		t.unknown.Orders++
		switch {
		case !there:
			t.unknown.Missing++
		case m&completed != 0:
			t.unknown.Completed++
		case m&dead != 0:
			t.unknown.Dead++
		default:
			t.unknown.Pending++
		}
	}
}

func (a *Auditor) result(t tally, begun time.Time) Result {
	r := Result{
		Accepted: t.Accepted, Completed: t.Completed, Dead: t.Dead, Lost: t.Lost, Duplicated: t.Duplicated, NoEffect: t.NoEffect,
		Stuck:   t.Accepted - t.Completed - t.Dead - t.Lost,
		Unknown: t.unknown, Refused: t.refused, RefusedFound: t.refusedFound,
		Examples: a.examples(t), E2E: a.e2e, Took: time.Since(begun), Requests: a.requests.Load(),
	}
	if !a.finished.last.IsZero() {
		r.Drain, r.HasDrain = max(0, a.finished.last.Sub(a.created.last)), true
	}
	if a.listing.keyless {
		a.note("this api does not show idempotency keys: orders were recognised by their data; another run at the same time would be mistaken for duplicates")
	}
	if a.depth > 0 && r.Stuck == 0 {
		a.note(fmt.Sprintf("the queue still held %d messages at the end: if any are this run's, what they bring was not seen", a.depth))
	}
	r.Notes = a.notes
	return r
}

// examples shows some orders of each fault: which, when, and how they were last seen.
func (a *Auditor) examples(t tally) []Example {
	var out []Example
	counts := map[string]int{}
	indexes := make([]int, 0, len(a.books))
	for i := range a.books {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range indexes {
		b := a.books[i]
		for n, m := range b.marks {
			fault, note := a.fault(&t, b, n, m)
			if fault == "" || counts[fault] >= maxExamples {
				continue
			}
			counts[fault]++
			e := Example{Fault: fault, Index: i, N: n, Key: b.keys.String(n, b.ledger.Bulk), ID: b.id(n), SentAt: b.ledger.SentAt(n), Note: note}
			if o, ok := b.rows[n]; ok {
				e.CreatedAt, e.Status, e.Attempts, e.LastError = o.CreatedAt.Time, o.Status, int64(o.Attempts), o.LastError
			}
			out = append(out, e)
		}
	}
	order := []string{"lost", "duplicated", "stuck", "no_effect", "unknown", "refused_found"}
	slices.SortStableFunc(out, func(x, y Example) int {
		return cmp.Compare(slices.Index(order, x.Fault), slices.Index(order, y.Fault))
	})
	return out
}

func (a *Auditor) fault(t *tally, b *book, n int, m mark) (fault, note string) {
	state := b.ledger.State(n)
	extra := b.extra[n]
	switch {
	case m&lost != 0 && state == ledger.Accepted && len(extra) > 0:
		return "lost", fmt.Sprintf("answered 201 and not found; an order with the same key or data has id %v", extra)
	case m&lost != 0 && state == ledger.Accepted:
		return "lost", "answered 201 and not found"
	case len(extra) > 0:
		return "duplicated", fmt.Sprintf("the same order exists again with id %v", extra)
	case m&twice != 0:
		if o, ok := b.rows[n]; ok && o.Effects != nil {
			return "duplicated", fmt.Sprintf("%d effects", *o.Effects)
		}
		return "duplicated", "more than one effect"
	case state == ledger.Accepted && m&(completed|dead) == 0:
		return "stuck", "answered 201 and still pending"
	case m&noEffect != 0 && t.NoEffect > 0:
		return "no_effect", "completed without an effect"
	case state == ledger.Sent && b.adopt[n] == 0:
		return "unknown", "never answered; not found"
	case state == ledger.Sent:
		return "unknown", "never answered; found"
	case state == ledger.Refused && b.adopt[n] != 0:
		return "refused_found", "answered with a 4xx and found"
	}
	return "", ""
}
