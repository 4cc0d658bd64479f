package app

import (
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/receive"
)

// runAudit audits a run that is over, from what the api shows of it.
func (s *session) runAudit() error {
	s.sent.Store(true)
	if err := s.awaitReady(s.all); err != nil {
		return s.fail(err)
	}
	start := time.Now()
	runs, err := audit.Discover(s.all, s.client, s.cfg.RunID, s.cfg.Orders, s.cfg.AuditPatience, s.log)
	if err != nil {
		return s.fail(err)
	}
	r := s.newRun(s.cfg.RunID, arrivals.Profile{})
	r.view.Audit(audit.Progress{})
	stop := r.watch("")
	options := s.auditOptions()
	options.Progress = r.auditing
	account, err := audit.New(s.client, options, runs...).Run(s.all)
	var received *receive.Account
	if err == nil {
		received, err = s.askReceiver()
	}
	stop()
	summary := s.newSummary(start)
	summary.SetAudit(&account)
	summary.Receiver = received
	summary.SetHistograms(nil, nil, account.E2E)
	return s.finish(summary, err)
}
