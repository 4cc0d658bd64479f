package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/measure"
)

// Result is the account. Accepted is always the sum of Completed, Dead, Lost, Stuck and Undetermined.
type Result struct {
	Figures
	Notes []string `json:"notes,omitempty"`

	Examples []Example          `json:"examples,omitempty"`
	E2E      *measure.Histogram `json:"-"`
	Drain    time.Duration      `json:"-"` // from the last order's creation to the last one's completion, by the server's clock
	HasDrain bool               `json:"-"`
	Took     time.Duration      `json:"-"`
	Requests int64              `json:"requests"` // that the audit needed
}

// Figures count the orders.
type Figures struct {
	Accepted   int `json:"accepted"`   // answered with a success or, of a run known by its keys alone, listed when the audit began
	Completed  int `json:"completed"`  // processed
	Dead       int `json:"dead"`       // given up by the consumer, in the dead letters
	Lost       int `json:"lost"`       // accepted, and not there
	Duplicated int `json:"duplicated"` // had their effect more than once, or exist more than once
	Stuck      int `json:"stuck"`      // still pending when the audit ended: its patience was over, or it was cut short

	Undetermined int `json:"undetermined"` // not looked at, or not twice, when the audit was cut short
	NoEffect     int `json:"no_effect"`    // completed, with no effect recorded
	DeadEffect   int `json:"dead_effect"`  // dead, with an effect recorded
	Altered      int `json:"altered"`      // stored with other data than were sent
	Misnamed     int `json:"misnamed"`     // answered with an id that is not theirs
	Left         int `json:"left"`         // messages of settled orders that the queue still held when the audit ended
	Strays       int `json:"strays"`       // of a run known by its keys alone: keys numbered far beyond the others, which are not accounted for

	Unknown      Unknown `json:"unknown"`       // never answered or, of a run known by its keys alone, not listed when the audit began
	Refused      int     `json:"refused"`       // answered with anything that is neither a success nor worth another try
	RefusedFound int     `json:"refused_found"` // and there all the same
	PoisonFound  int     `json:"poison_found"`  // made of requests that were wrong on purpose
}

// Unknown counts the orders that are not known to have been answered, by what the audit found.
type Unknown struct {
	Orders    int `json:"orders"`
	Completed int `json:"found_completed"`
	Dead      int `json:"found_dead"`
	Pending   int `json:"found_pending"`
	Missing   int `json:"not_found"`
}

// Example is one order that something is wrong with.
type Example struct {
	Fault     string    `json:"fault"` // one of faultOrder
	Index     int       `json:"index"`
	N         int       `json:"n"`
	Key       string    `json:"key"`
	ID        int64     `json:"id,omitempty"`
	SentAt    time.Time `json:"sent_at,omitzero"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Status    string    `json:"status,omitempty"`
	Attempts  int       `json:"attempts,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// maxExamples is how many examples each fault gets; faultOrder, the order in which they stand.
const maxExamples = 10

var faultOrder = []string{"lost", "duplicated", "altered", "misnamed", "stuck", "no_effect", "dead_effect", "unknown", "refused_found", "poison_found"}

// String is the account in one line: the last one of the command's output.
func (f Figures) String() string {
	return fmt.Sprintf("accepted=%d completed=%d dead=%d lost=%d duplicated=%d", f.Accepted, f.Completed, f.Dead, f.Lost, f.Duplicated)
}

// tally is the account so far.
type tally struct {
	Figures
	unsettled   int // orders whose fate is open, and that were not missed when last looked for
	unconfirmed int // orders whose fate is open, and that were missed once
	missing     int // orders that were missed, once (unconfirmed) or twice (lost)
}

// count brings the tally up to date. Fewer open orders than ever are progress; fewer than a moment ago are not.
func (a *Auditor) count() {
	a.tally = tally{}
	for _, b := range a.books {
		for n := range b.orders {
			a.tally.add(b, n, a.looked)
		}
	}
	t := &a.tally
	t.Strays, t.PoisonFound = a.strays, len(a.poison)
	t.Undetermined = t.Accepted - t.Completed - t.Dead - t.Lost - t.Stuck
	a.open = t.unsettled + t.unconfirmed
	if a.open < a.fewestOpen {
		a.fewestOpen, a.lastProgress = a.open, time.Now()
	}
}

// add adds one order to the tally. looked says whether all orders have been looked at.
func (t *tally) add(b *book, n int, looked bool) {
	m := b.orders[n].mark
	there := b.orders[n].id != 0 && m&lost == 0
	count := func(yes bool, figure *int) {
		if yes {
			*figure++
		}
	}
	count(b.open(n) && m&missed == 0, &t.unsettled)
	count(b.open(n) && m&missed != 0, &t.unconfirmed)
	count(m&(missed|lost) != 0, &t.missing)
	count(m&noEffect != 0, &t.NoEffect)
	count(m&deadEffect != 0, &t.DeadEffect)
	count(m&altered != 0, &t.Altered)
	count(b.misnamed(n), &t.Misnamed)
	count(m&lost == 0 && (m&twice != 0 || len(b.others[n]) > 0), &t.Duplicated)
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
		t.Refused++
		count(there, &t.RefusedFound)
	case ledger.Sent:
		u := &t.Unknown
		u.Orders++
		switch {
		case !there:
			count(looked, &u.Missing)
		case m&completed != 0:
			u.Completed++
		case m&dead != 0:
			u.Dead++
		default:
			u.Pending++
		}
	}
}

func (a *Auditor) result(begun time.Time) Result {
	a.count()
	r := Result{Figures: a.tally.Figures, Examples: a.examples(), E2E: a.e2e, Took: time.Since(begun), Requests: a.read.Requests()}
	if !a.finished.IsZero() {
		r.Drain, r.HasDrain = max(0, a.finished.Sub(a.created)), true
	}
	if a.unlisted > 0 {
		a.note("the listing does not show every order that GET /orders/{id} knows: %d are missing from it", a.unlisted)
	}
	switch {
	case !a.looked || r.Stuck+r.Undetermined > 0: // which says more
	case a.left() > 0:
		r.Left = a.left()
	case a.queue == nil:
		a.note("the api did not say at the end what the queue holds (GET /queue): if any messages are this run's, what they bring was not seen")
	case a.queue.Depth > 0:
		a.note("the queue still held %d messages at the end: if any are this run's, what they bring was not seen", a.queue.Depth)
	case !a.empty(a.queue):
		a.note("the api said at the end what the queue held before the run's last order was made or completed (GET /queue): if any messages are this run's, what they bring was not seen")
	}
	r.Notes = a.notes
	return r
}

// examples shows some orders of each fault: which, when, and how they were last seen.
func (a *Auditor) examples() []Example {
	var out []Example
	counts := map[string]int{}
	for _, b := range a.books {
		for n := range b.orders {
			fault, note := a.fault(b, n)
			if fault == "" || counts[fault] >= maxExamples {
				continue
			}
			counts[fault]++
			o := b.rows[n]
			out = append(out, Example{
				Fault: fault, Index: b.keys.Index, N: n, Key: b.keys.String(n, b.ledger.Bulk), ID: b.id(n), SentAt: b.ledger.SentAt(n), Note: note,
				CreatedAt: o.CreatedAt, Status: o.Status, Attempts: o.Attempts, LastError: o.LastError,
			})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.poison)) {
		if o := a.poison[id]; counts["poison_found"] < maxExamples {
			counts["poison_found"]++
			out = append(out, Example{
				Fault: "poison_found", Key: o.Key, ID: id, CreatedAt: o.CreatedAt, Status: o.Status, Attempts: o.Attempts,
				Note: "made of a request that is invalid",
			})
		}
	}
	slices.SortStableFunc(out, func(x, y Example) int {
		return cmp.Compare(slices.Index(faultOrder, x.Fault), slices.Index(faultOrder, y.Fault))
	})
	return out
}

// fault says what is wrong with order n, if anything.
func (a *Auditor) fault(b *book, n int) (fault, note string) {
	state, m, row := b.ledger.State(n), b.orders[n].mark, b.rows[n]
	switch others := b.others[n]; {
	case m&lost != 0 && state == ledger.Accepted && b.why[n] != "":
		return "lost", "accepted and not found; " + b.why[n]
	case m&lost != 0 && state == ledger.Accepted:
		return "lost", "accepted and not found"
	case len(others) > 0:
		return "duplicated", fmt.Sprintf("the same order exists again with id %v", others)
	case m&twice != 0:
		return "duplicated", fmt.Sprintf("%d effects", row.Effects)
	case m&altered != 0:
		return "altered", b.deviation(n, &row)
	case b.misnamed(n):
		return "misnamed", fmt.Sprintf("answered with id %d, which is not this order's", b.ledger.ID(n))
	case state == ledger.Accepted && m&pending != 0:
		return "stuck", "accepted and still pending"
	case m&noEffect != 0:
		return "no_effect", "completed without an effect"
	case m&deadEffect != 0:
		return "dead_effect", "dead, and processed all the same"
	case state == ledger.Sent && b.orders[n].id != 0 && b.byKeys():
		return "unknown", "not listed at first; found"
	case state == ledger.Sent && b.orders[n].id != 0:
		return "unknown", "never answered; found"
	case state == ledger.Sent && a.looked && b.byKeys():
		return "unknown", "missing: never answered, or lost"
	case state == ledger.Sent && a.looked:
		return "unknown", "never answered; not found"
	case state == ledger.Refused && b.orders[n].id != 0:
		return "refused_found", "refused and found all the same"
	}
	return "", ""
}
