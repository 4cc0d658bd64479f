// Package report turns a run's measures and its audit into what people and programs read: the final table, the JSON and HTML files, and
// the one line that others test for. It computes nothing that decides about the run except the values that thresholds compare.
package report

import (
	"math"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/receive"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Summary is everything about a run. It is what --json writes.
type Summary struct {
	Schema      int       `json:"schema"` // 1; changes when a field changes its meaning
	Version     string    `json:"version"`
	Command     string    `json:"command"` // run, audit or capacity
	RunID       string    `json:"run_id"`
	Index       int       `json:"index"`
	Seed        uint64    `json:"seed"`
	API         string    `json:"api"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended"`
	Interrupted bool      `json:"interrupted"`
	ExitCode    int       `json:"exit_code"`
	Faults      []string  `json:"faults"`             // why the exit code is not 0, in words
	Warnings    []string  `json:"warnings,omitempty"` // what makes the result worth less than it looks

	Load       *Load               `json:"load,omitempty"`
	Audit      *audit.Result       `json:"audit,omitempty"`
	Receiver   *receive.Account    `json:"receiver,omitempty"`
	E2E        *measure.Latency    `json:"e2e,omitempty"` // POST to completed, by the server's clock
	Drain      *float64            `json:"drain_s,omitempty"`
	AuditTook  float64             `json:"audit_s,omitempty"`
	Thresholds []thresholds.Result `json:"thresholds,omitempty"`
	Capacity   *Capacity           `json:"capacity,omitempty"`
	Settings   map[string]string   `json:"settings"` // those that differ from the defaults

	post, service, e2e *measure.Histogram
}

// Load is what was sent and how it was answered.
type Load struct {
	Model    string          `json:"model"` // closed or open
	Shape    string          `json:"shape"` // in words: 20 workers; 1000/s, poisson
	Seconds  float64         `json:"sending_s"`
	Intended float64         `json:"intended_rate,omitempty"` // orders a second; open model only
	Achieved float64         `json:"achieved_rate"`
	Kept     float64         `json:"rate_kept,omitempty"` // achieved / intended
	Bulk     int             `json:"bulk"`
	Totals   measure.Totals  `json:"totals"`
	Post     measure.Latency `json:"post"`    // due (open) or first sent (closed) to answered, retries included
	Service  measure.Latency `json:"service"` // one try, sent to answered
	Stalls   []StallSeconds  `json:"stalls"`
	Cores    float64         `json:"own_cpu_cores"` // that the load generator used itself while sending
	Series   measure.Series  `json:"series"`
}

// StallSeconds is a stall in seconds.
type StallSeconds struct {
	At  float64 `json:"at_s"`
	For float64 `json:"for_s"`
}

// Capacity is the outcome of a capacity search.
type Capacity struct {
	Best       float64 `json:"best_rate"`  // the highest rate that kept the thresholds; 0 when none did
	Ceiling    bool    `json:"at_ceiling"` // CAPACITY_MAX was kept: there may be more
	Conditions string  `json:"conditions"`
	Steps      []Step  `json:"steps"`
}

// Step is one rate that was tried.
type Step struct {
	Rate       float64             `json:"rate"`
	Achieved   float64             `json:"achieved_rate"`
	PostP50    float64             `json:"post_p50_ms"`
	PostP99    float64             `json:"post_p99_ms"`
	E2EP99     float64             `json:"e2e_p99_ms"`
	ErrorRate  float64             `json:"error_rate"`
	Dropped    int64               `json:"dropped"`
	Drain      float64             `json:"drain_s"`
	Audit      string              `json:"audit"`
	OK         bool                `json:"ok"`
	Thresholds []thresholds.Result `json:"thresholds"`
	Faults     []string            `json:"faults,omitempty"` // the conditions that were not kept among them
	Broken     []string            `json:"-"`                // those that no load excuses
}

// SetAudit puts the account in.
func (s *Summary) SetAudit(a *audit.Result) {
	s.Audit, s.AuditTook = a, a.Took.Seconds()
	if a.HasDrain {
		drain := a.Drain.Seconds()
		s.Drain = &drain
	}
}

// SetHistograms keeps the histograms that thresholds on percentiles are computed from; any may be nil.
func (s *Summary) SetHistograms(post, service, e2e *measure.Histogram) {
	s.post, s.service, s.e2e = post, service, e2e
	if e2e != nil && e2e.Count() > 0 {
		l := e2e.Summary()
		s.E2E = &l
	}
}

// Value is the value of a measure that a threshold names; false when the run has none.
func (s *Summary) Value(metric string) (float64, bool) {
	if name, ok := strings.CutPrefix(metric, "post_"); ok {
		return histogramValue(s.post, name)
	}
	if name, ok := strings.CutPrefix(metric, "service_"); ok {
		return histogramValue(s.service, name)
	}
	if name, ok := strings.CutPrefix(metric, "e2e_"); ok {
		return histogramValue(s.e2e, name)
	}
	if v, ok := s.auditValue(metric); ok {
		return v, true
	}
	return s.loadValue(metric)
}

func histogramValue(h *measure.Histogram, name string) (float64, bool) {
	if h == nil || h.Count() == 0 {
		return 0, false
	}
	switch name {
	case "min":
		return h.Min().Seconds(), true
	case "max":
		return h.Max().Seconds(), true
	case "avg":
		return h.Mean().Seconds(), true
	}
	p, err := strconv.ParseFloat(strings.TrimPrefix(name, "p"), 64)
	return h.Percentile(p).Seconds(), err == nil
}

func (s *Summary) auditValue(metric string) (float64, bool) {
	if s.Audit == nil {
		return 0, false
	}
	a := s.Audit
	switch metric {
	case "accepted":
		return float64(a.Accepted), true
	case "completed":
		return float64(a.Completed), true
	case "dead":
		return float64(a.Dead), true
	case "lost":
		return float64(a.Lost), true
	case "duplicated":
		return float64(a.Duplicated), true
	case "stuck":
		return float64(a.Stuck), true
	case "unknown":
		return float64(a.Unknown.Orders), true
	case "refused":
		return float64(a.Refused), true
	case "drain":
		return a.Drain.Seconds(), a.HasDrain
	}
	return 0, false
}

func (s *Summary) loadValue(metric string) (float64, bool) {
	if s.Load == nil {
		return 0, false
	}
	t := &s.Load.Totals
	switch metric {
	case "accepted":
		return float64(t.Accepted), true
	case "unknown":
		return float64(t.Unknown), true
	case "refused":
		return float64(t.Refused), true
	case "errors":
		return float64(t.Failed), true
	case "error_rate":
		return t.ErrorRate(), t.Tries > 0
	case "retries":
		return float64(t.Retries), true
	case "wrongly_answered":
		return float64(t.WronglyAnswered()), true
	case "late":
		return float64(t.Late), true
	case "late_rate":
		return float64(t.Late) / math.Max(1, float64(t.Due)), t.Due > 0
	case "dropped":
		return float64(t.Dropped), true
	case "dropped_rate":
		return float64(t.Dropped) / math.Max(1, float64(t.Due)), t.Due > 0
	case "max_lateness":
		return t.MaxLate / 1000, true
	case "stalls":
		return float64(len(s.Load.Stalls)), true
	case "rate":
		return s.Load.Achieved, true
	case "rate_kept":
		return s.Load.Kept, s.Load.Intended > 0
	}
	return 0, false
}
