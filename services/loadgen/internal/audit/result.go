package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
)

// Result is the account. Accepted is always the sum of Completed, Dead, Lost, Stuck and Undetermined.
type Result struct {
	Accepted   int `json:"accepted"`   // answered 201
	Completed  int `json:"completed"`  // processed
	Dead       int `json:"dead"`       // given up by the consumer, in the dead letters
	Lost       int `json:"lost"`       // accepted, and not there
	Duplicated int `json:"duplicated"` // had their effect more than once, or exist more than once
	Stuck      int `json:"stuck"`      // still pending when the audit's patience was over

	Undetermined int `json:"undetermined"` // not looked at, or not twice, when the audit was cut short
	NoEffect     int `json:"no_effect"`    // completed, with no effect recorded
	Altered      int `json:"altered"`      // stored with other data than were sent
	Misnamed     int `json:"misnamed"`     // answered with an id that is not theirs
	Backward     int `json:"backward"`     // completed before they were created; their times are not measured

	Hidden int `json:"hidden"` // listed, but not known by their ids: of Asked that were asked for
	Asked  int `json:"asked_by_id"`
	Strays int `json:"strays"` // of a run known by its keys alone: keys numbered far beyond the others, which are not accounted for

	EffectsUnseen bool `json:"effects_unseen"` // the api does not show effects: whether an order was processed, and once, could not be seen

	Unknown      Unknown `json:"unknown"`       // never answered
	Refused      int     `json:"refused"`       // answered with anything that is neither a success nor worth another try
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
	Fault     string    `json:"fault"` // lost, duplicated, altered, misnamed, hidden, stuck, unknown, refused_found, no_effect
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
	Accepted, Completed, Dead, Lost, Stuck, Duplicated, NoEffect int
	altered, misnamed, backward, hidden                          int
	unknown                                                      Unknown
	refused, refusedFound                                        int
	unsettled                                                    int // orders whose fate is open
	unconfirmed                                                  int // missing once
	missing                                                      int
	effectsUnseen                                                bool
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
	// An api without the field does not count effects. One that shows 0 for every completed order looks the same as a consumer that does
	// nothing: only who audits knows which it is.
	if t.effectsUnseen = completedOnes > 0 && t.NoEffect == completedOnes && (!a.effects || a.opt.NoEffects); t.effectsUnseen {
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
	for _, x := range [...]struct {
		is mark
		n  *int
	}{{noEffect, &t.NoEffect}, {altered, &t.altered}, {misnamed, &t.misnamed}, {backward, &t.backward}, {hidden, &t.hidden}} {
		if m&x.is != 0 {
			*x.n++
		}
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
		case m&pending != 0:
			t.Stuck++
		}
	case ledger.Refused:
		t.refused++
		if there {
			t.refusedFound++
		}
	case ledger.Sent:
		t.unknown.Orders++
		switch {
		case !there && !a.looked:
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
		Stuck: t.Stuck, Undetermined: t.Accepted - t.Completed - t.Dead - t.Lost - t.Stuck,
		Altered: t.altered, Misnamed: t.misnamed, Backward: t.backward, Hidden: t.hidden, Asked: a.asked, Strays: a.strays, EffectsUnseen: t.effectsUnseen,
		Unknown: t.unknown, Refused: t.refused, RefusedFound: t.refusedFound,
		Examples: a.examples(t), E2E: a.e2e, Took: time.Since(begun), Requests: a.requests.Load(),
	}
	if !a.finished.last.IsZero() {
		r.Drain, r.HasDrain = max(0, a.finished.last.Sub(a.created.last)), true
	}
	if a.listing.keyless {
		a.note("this api does not show idempotency keys: orders were recognised by their data; another run at the same time would be mistaken for duplicates")
	}
	if t.effectsUnseen {
		a.note("this api shows no effects: whether an order was processed, and once, could not be seen")
	}
	for _, x := range [...]struct {
		n    int
		text string
	}{
		{a.unlisted, "the listing does not show every order that GET /orders/{id} knows: %d are missing from it"},
		{a.relisted, "the listing shows orders twice: %d"},
		{t.backward, "orders were completed before they were created, by the api's own times: %d; how long they took was left out"},
	} {
		if x.n > 0 {
			a.note(fmt.Sprintf(x.text, x.n))
		}
	}
	if a.depth > 0 && r.Stuck+r.Undetermined == 0 {
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
	order := []string{"lost", "duplicated", "altered", "misnamed", "hidden", "stuck", "no_effect", "unknown", "refused_found"}
	slices.SortStableFunc(out, func(x, y Example) int {
		return cmp.Compare(slices.Index(order, x.Fault), slices.Index(order, y.Fault))
	})
	return out
}

func (a *Auditor) fault(t *tally, b *book, n int, m mark) (fault, note string) {
	state := b.ledger.State(n)
	extra := b.extra[n]
	switch {
	case m&lost != 0 && state == ledger.Accepted:
		note = "answered 201 and not found"
		if why := b.why[n]; why != "" {
			note += "; " + why
		}
		return "lost", note
	case len(extra) > 0:
		return "duplicated", fmt.Sprintf("the same order exists again with id %v", extra)
	case m&twice != 0:
		if o, ok := b.rows[n]; ok && o.Effects != nil {
			return "duplicated", fmt.Sprintf("%d effects", *o.Effects)
		}
		return "duplicated", "more than one effect"
	case m&altered != 0:
		o := b.rows[n]
		return "altered", b.deviation(n, &o)
	case m&hidden != 0:
		return "hidden", "listed, and GET /orders/{id} does not know it"
	case m&misnamed != 0:
		return "misnamed", b.why[n]
	case state == ledger.Accepted && m&pending != 0 && m&(completed|dead) == 0:
		return "stuck", "answered 201 and still pending"
	case m&noEffect != 0 && t.NoEffect > 0:
		return "no_effect", "completed without an effect"
	case state == ledger.Sent && !a.looked:
		return "", ""
	case state == ledger.Sent && b.adopt[n] == 0 && b.ledger.Start.IsZero():
		return "unknown", "missing: never answered, or lost"
	case state == ledger.Sent && b.adopt[n] == 0:
		return "unknown", "never answered; not found"
	case state == ledger.Sent:
		return "unknown", "never answered; found"
	case state == ledger.Refused && b.adopt[n] != 0:
		return "refused_found", "refused and found all the same"
	}
	return "", ""
}
