package app

import (
	"time"

	"orderflow.example/services/loadgen/internal/audit"
)

// runAudit audits a run that is over, from what the api shows of it.
func (s *session) runAudit() int {
	s.sent.Store(true)
	if err := s.awaitReady(s.all); err != nil {
		return s.fail(err)
	}
	start := time.Now()
	runs, err := audit.Discover(s.all, s.client, s.cfg.RunID, s.cfg.Orders, s.cfg.AuditPatience, s.log)
	if err != nil {
		return s.fail(err)
	}
	account, err := audit.New(s.client, s.auditOptions(), runs...).Run(s.all)
	summary := s.newSummary(start)
	summary.SetAudit(&account)
	summary.SetHistograms(nil, nil, account.E2E)
	return s.finish(summary, err)
}
