// Package report turns a run's measures and its audit into one Summary, says what is wrong with it, and writes it for people (the final table, a
// page) and for programs (JSON). It measures and asks nothing itself.
package report

import (
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
	Settings   map[string]string   `json:"settings,omitempty"` // those that differ from the defaults

	histograms map[string]*measure.Histogram // for thresholds, by the first word of the measures that are taken from them: post, service, e2e
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
}

// StallSeconds is a stall in seconds.
type StallSeconds struct {
	At  float64 `json:"at_s"`
	For float64 `json:"for_s"`
}

// SetLoad puts in what was sent, with its latencies.
func (s *Summary) SetLoad(l *Load, post, service *measure.Histogram) {
	s.Load, l.Post, l.Service = l, s.keep("post", post), s.keep("service", service)
}

// SetAudit puts the account in.
func (s *Summary) SetAudit(a *audit.Result) {
	s.Audit, s.AuditTook = a, a.Took.Seconds()
	if a.HasDrain {
		drain := a.Drain.Seconds()
		s.Drain = &drain
	}
	if e2e := s.keep("e2e", a.E2E); e2e.Count > 0 {
		s.E2E = &e2e
	}
}

// keep keeps a histogram for thresholds, and returns its summary.
func (s *Summary) keep(name string, h *measure.Histogram) measure.Latency {
	if s.histograms == nil {
		s.histograms = map[string]*measure.Histogram{}
	}
	s.histograms[name] = h
	return h.Summary()
}
