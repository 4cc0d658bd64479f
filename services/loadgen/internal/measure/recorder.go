package measure

import (
	"sync"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

// LateAfter is how long after it was due a request must be sent to count as late: above what timers and the scheduler take.
const LateAfter = 10 * time.Millisecond

const maxExamples = 10

// Recorder collects a run's measures. It is safe for concurrent use.
type Recorder struct {
	start time.Time

	mu       sync.Mutex
	total    Totals
	post     *Histogram
	service  *Histogram
	stalls   stallWatch
	inFlight int64
	lastSent time.Time
	lastDue  time.Time
	queue    *client.Queue // as last asked; nil = not yet
}

// NewRecorder begins to measure at start.
func NewRecorder(start time.Time) *Recorder {
	return &Recorder{
		start: start, post: NewHistogram(), service: NewHistogram(),
		total: Totals{Status: map[int]int64{}, Failures: map[string]int64{}, Unheard: map[string]int64{}, Wrong: map[string]Special{}, Broken: map[string]int64{}},
	}
}

// Begin notes that a request of `count` orders is sent now, and when it was due.
func (r *Recorder) Begin(kind orders.Kind, count int, due, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight++
	r.total.Requests++
	r.total.Carried += int64(count)
	if kind == orders.Valid {
		r.total.Sent += int64(count)
	}
	if now.After(r.lastSent) {
		r.lastSent = now
	}
	if due.After(r.lastDue) {
		r.lastDue = due
	}
	if late := now.Sub(due); late >= LateAfter {
		r.total.Late++
		r.total.MaxLate = max(r.total.MaxLate, ms(late))
	}
}

// Due notes an arrival that the schedule asked for, whether or not it could be sent.
func (r *Recorder) Due() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Due++
}

// Drop notes an arrival that was never sent.
func (r *Recorder) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Dropped++
}

// Try is one try of a request.
type Try struct {
	Kind         orders.Kind
	Begun, Ended time.Time
	Waiting      time.Time // since when the request has not been answered at all: its first try, or the one after its last answer
	Retry        bool      // it was tried before
	Failed       bool      // the answer was not the expected one
}

// Try notes a try and its answer.
func (r *Recorder) Try(t Try, a *client.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Tries++
	if t.Retry {
		r.total.Retries++
	}
	switch {
	case a.Failure == client.None:
		r.total.Status[a.Status]++
	case t.Failed:
		r.total.Failures[a.Failure.String()]++
	}
	if t.Failed {
		r.total.Failed++
	}
	if t.Kind == orders.Valid && a.Accepted() {
		r.service.Record(t.Ended.Sub(t.Begun))
	}
	if a.Failure == client.None {
		r.stalls.answer(t.Waiting.Sub(r.start), t.Ended.Sub(r.start), r.service)
	}
}

// Outcome says how a request of plain orders ended.
type Outcome uint8

// The outcomes.
const (
	Accepted Outcome = iota
	Refused
	Unknown   // given up after RETRY_FOR without an answer
	Abandoned // given up because the run was interrupted
)

// End notes how a request of plain orders ended. cause says what became of the try before an answer that turned out to be a replay ("" when
// there was none).
func (r *Recorder) End(count int, due, ended time.Time, outcome Outcome, replayed bool, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	switch outcome {
	case Accepted:
		r.total.Accepted += int64(count)
		if replayed {
			r.total.Replayed += int64(count)
			if cause != "" {
				r.total.Unheard[cause]++
			}
		}
	case Refused:
		r.total.Refused += int64(count)
		return
	case Unknown:
		r.total.Unknown += int64(count)
	case Abandoned:
		r.total.Unknown += int64(count)
		return
	}
	r.post.Record(ended.Sub(due))
}

// EndSpecial notes how a request that is not a plain order ended; example says what was wrong with the answer.
func (r *Recorder) EndSpecial(kind orders.Kind, outcome Outcome, asExpected bool, example func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	s := r.total.Wrong[kind.String()]
	s.Sent++
	switch {
	case asExpected:
		s.Expected++
	case outcome == Accepted, outcome == Refused:
		s.Wrong++
		r.total.WrongExamples = exemplify(r.total.WrongExamples, kind.String(), example)
	case outcome == Unknown:
		s.Unheard++
	}
	r.total.Wrong[kind.String()] = s
}

// Contradicted notes that a duplicate whose answer came before that of the order itself, and was taken for right, was not.
func (r *Recorder) Contradicted(example func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := orders.Duplicate.String()
	s := r.total.Wrong[name]
	s.Expected, s.Wrong = s.Expected-1, s.Wrong+1
	r.total.Wrong[name] = s
	r.total.WrongExamples = exemplify(r.total.WrongExamples, name, example)
}

// Broken notes a success that breaks the contract: how, for how many orders.
func (r *Recorder) Broken(how string, count int64, example func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Broken[how] += count
	r.total.BrokenExamples = exemplify(r.total.BrokenExamples, how, example)
}

func exemplify(list []string, what string, example func() string) []string {
	if len(list) < maxExamples {
		list = append(list, what+": "+example())
	}
	return list
}

// Paused notes a pause that a Retry-After asked for and that is over.
func (r *Recorder) Paused(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.RetryAfter++
	r.total.RetryAfterMillis += d.Milliseconds()
}

// Queue notes the queue's state.
func (r *Recorder) Queue(q client.Queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = &q
}

// Snapshot is the state of a run while it goes on.
type Snapshot struct {
	Elapsed  time.Duration
	Totals   Totals
	InFlight int64
	P50      time.Duration // of POST, so far
	P99      time.Duration
	Queue    *client.Queue // as last asked; nil = not yet
	LastSent time.Time
	LastDue  time.Time
	Stalls   []Stall
}

// Snapshot is the state now.
func (r *Recorder) Snapshot(now time.Time) Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Snapshot{
		Elapsed: now.Sub(r.start), Totals: r.total.clone(), InFlight: r.inFlight, P50: r.post.Percentile(50), P99: r.post.Percentile(99),
		Queue: r.queue, LastSent: r.lastSent, LastDue: r.lastDue, Stalls: append([]Stall(nil), r.stalls.found...),
	}
}

// Post is a copy of the histogram of POST latency: from the moment that an order was due (open model) or first sent (closed model) to its
// answer, retries included.
func (r *Recorder) Post() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.post.Clone()
}

// Service is a copy of the histogram of single tries that were accepted, from sending to answer: what a closed-loop tool reports.
func (r *Recorder) Service() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.service.Clone()
}
