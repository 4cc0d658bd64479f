package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/report"
)

func (s *session) newSummary(start time.Time) *report.Summary {
	return &report.Summary{
		Schema: 1, Version: s.call.Version, Command: s.command, RunID: s.cfg.RunID, Index: s.cfg.Index, Seed: s.cfg.Seed, API: s.apiURL(),
		Started: start, Settings: s.cfg.Changed(), Faults: []string{},
	}
}

// summary sums the run up.
func (r *run) summary() *report.Summary {
	summary := r.newSummary(r.start)
	summary.Receiver = r.received
	if r.account != nil {
		summary.SetAudit(r.account)
	}
	if r.command != "audit" { // which sends nothing
		summary.SetLoad(r.load(), r.recorder.Post(), r.recorder.Service())
	}
	return summary
}

// load sums up what was sent.
func (r *run) load() *report.Load {
	snap := r.recorder.Snapshot(time.Now())
	l := &report.Load{
		Model: "closed", Shape: fmt.Sprintf("%d workers", r.cfg.Concurrency), Seconds: r.sending.Seconds(), Bulk: r.cfg.Bulk, Totals: snap.Totals,
		Stalls: []report.StallSeconds{},
	}
	for _, x := range snap.Stalls {
		l.Stalls = append(l.Stalls, report.StallSeconds{At: x.At.Seconds(), For: x.For.Seconds()})
	}
	l.Achieved = float64(snap.Totals.Carried) / r.sending.Seconds()
	if r.open() {
		l.Model, l.Shape = "open", r.shape()
		l.Intended, l.Achieved, l.Kept = rates(r.profile, r.cfg.Bulk, r.start, &snap)
	}
	return l
}

// rates are three results of an open model's run:
//   - intended: what was due, by the time that the schedule takes for it, in orders a second;
//   - achieved: what was sent, by the time that it took, in orders a second. The gap after the last arrival belongs to that time;
//   - kept: how much of the schedule was kept, 1 at most: the share of what was due that was sent, less where the last request was late.
func rates(profile arrivals.Profile, bulk int, start time.Time, snap *measure.Snapshot) (intended, achieved, kept float64) {
	due, begun := float64(snap.Totals.Due), float64(snap.Totals.Requests)
	area := due * float64(bulk)
	span, ok := profile.At(area)
	if !ok {
		span = profile.Length()
	}
	if span <= 0 || begun == 0 {
		return 0, 0, 0
	}
	lag := max(0, snap.LastSent.Sub(snap.LastDue))
	took := snap.LastSent.Sub(start).Seconds() + span.Seconds()/due
	return area / span.Seconds(), begun * float64(bulk) / took, begun / due * span.Seconds() / (span + lag).Seconds()
}

func (r *run) shape() string {
	text := fmt.Sprintf("%g orders/s", r.profile.Peak())
	if len(r.cfg.Stages) > 0 {
		text = "stages " + r.cfg.Stages.String()
		if r.cfg.Rate > 0 {
			text += fmt.Sprintf(" from %g/s", r.cfg.Rate)
		}
	}
	return text + ", " + r.cfg.Arrivals + " arrivals"
}

// lastWords leaves what is known before the audit as the termination message: after a SIGTERM, Kubernetes may not wait for the rest.
func (r *run) lastWords() {
	summary := r.summary()
	summary.Interrupted, summary.ExitCode = true, ExitInterrupted
	if err := summary.WriteTermination(r.cfg.TerminationPath); err != nil {
		r.log.Warn("the last summary could not be written", slog.Any("error", err))
	}
}

// finish evaluates the thresholds, writes what is to be written and decides the exit code. err is a fault of loadgen's own, or that of a
// context that a signal ended.
func (s *session) finish(summary *report.Summary, err error) error {
	summary.Interrupted = s.interrupted()
	if err != nil && !errors.Is(err, context.Canceled) {
		summary.Faults = append(summary.Faults, err.Error())
	}
	conditions := s.cfg.Thresholds
	if summary.Capacity != nil {
		conditions = nil // each of its steps was judged by them
	}
	summary.Judge(conditions)
	switch {
	case summary.Interrupted:
		summary.ExitCode = ExitInterrupted
	case err != nil:
		summary.ExitCode = ExitFault
	case len(summary.Faults) > 0:
		summary.ExitCode = ExitThresholds
	}
	summary.Ended = time.Now()
	written := summary.WriteTermination(s.cfg.TerminationPath)
	if s.cfg.ReportJSON != "" {
		written = errors.Join(written, summary.WriteJSON(s.cfg.ReportJSON))
	}
	if written != nil {
		s.log.Error("a report could not be written", slog.Any("error", written))
		if summary.ExitCode == ExitOK {
			summary.ExitCode = ExitFault
		}
	}
	summary.Text(s.call.Stdout)
	return exit(summary.ExitCode)
}
