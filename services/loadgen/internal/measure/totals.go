package measure

import "maps"

// Totals are a run's counts. Orders are counted as orders, everything else as requests (one request carries BULK orders) or as tries
// (a request is tried again after a fault).
type Totals struct {
	Requests int64 `json:"requests"`
	Tries    int64 `json:"tries"`
	Retries  int64 `json:"retries"`
	Failed   int64 `json:"failed_tries"` // network faults, 5xx, 429 and every other answer that was not the expected one

	Carried  int64 `json:"orders_carried"` // by all requests, those that are wrong on purpose and duplicates included
	Sent     int64 `json:"orders_sent"`
	Accepted int64 `json:"orders_accepted"` // answered with a success, usually a 201
	Refused  int64 `json:"orders_refused"`  // valid orders answered with anything that is neither a success nor worth another try
	Unknown  int64 `json:"orders_unknown"`  // never answered
	Replayed int64 `json:"orders_replayed"` // accepted by an answer that repeated an earlier one

	Status   map[int]int64    `json:"status"`   // tries by status
	Failures map[string]int64 `json:"failures"` // tries without an answer, by reason

	// Unheard counts the requests whose first try had been committed though its answer never came, as the retry's replay shows,
	// by what became of that try.
	Unheard map[string]int64 `json:"committed_unheard"`

	RetryAfter       int64 `json:"retry_after"` // pauses that a Retry-After asked for
	RetryAfterMillis int64 `json:"retry_after_ms"`

	Due     int64   `json:"arrivals_due"` // open model: requests that the schedule asked for
	Late    int64   `json:"arrivals_late"`
	Dropped int64   `json:"arrivals_dropped"`
	MaxLate float64 `json:"max_lateness_ms"`

	// Wrong counts the requests that are not plain orders, by kind.
	Wrong map[string]Special `json:"special_requests,omitempty"`
	// WrongExamples are special requests that were not answered as they must be.
	WrongExamples []string `json:"special_examples,omitempty"`

	// Broken counts the orders whose success broke the contract, by how; an order that was answered twice so counts twice.
	Broken         map[string]int64 `json:"broken_answers,omitempty"`
	BrokenExamples []string         `json:"broken_examples,omitempty"`
}

// The ways in which a success can break the contract.
const (
	Altered = "altered"    // it shows other data than were sent
	NoID    = "without_id" // it does not name every order's id
	Not201  = "not_201"    // its status is another than 201, although it answers a first try and is no replay
)

// Special counts the requests of one special kind. For poison and oversized ones the expected answer is a refusal; for a duplicate
// it is the first answer again.
type Special struct {
	Sent     int64 `json:"sent"`
	Expected int64 `json:"answered_as_expected"`
	Wrong    int64 `json:"answered_wrongly"` // accepted though invalid; or a duplicate that was refused or got another id
	Unheard  int64 `json:"unanswered"`       // given up without a usable answer; those that an interruption ended are none of the three
}

// ErrorRate is the share of tries that failed; 0 without any.
func (t *Totals) ErrorRate() float64 { return ratio(t.Failed, t.Tries) }

// Unanswered is the number of special requests that never got a usable answer.
func (t *Totals) Unanswered() int64 {
	var n int64
	for _, s := range t.Wrong {
		n += s.Unheard
	}
	return n
}

// WronglyAnswered is the number of special requests that were not answered as they must be.
func (t *Totals) WronglyAnswered() int64 {
	var n int64
	for _, s := range t.Wrong {
		n += s.Wrong
	}
	return n
}

func (t *Totals) clone() Totals {
	c := *t
	c.Status, c.Failures, c.Unheard = maps.Clone(t.Status), maps.Clone(t.Failures), maps.Clone(t.Unheard)
	c.Wrong = maps.Clone(t.Wrong)
	c.WrongExamples = append([]string(nil), t.WrongExamples...)
	c.Broken, c.BrokenExamples = maps.Clone(t.Broken), append([]string(nil), t.BrokenExamples...)
	return c
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
