package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/capacity"
	"orderflow.example/services/loadgen/internal/report"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// capacityThresholds are what a rate must keep when THRESHOLDS does not say.
const capacityThresholds = "post_p99<100ms,error_rate<0.1%,dropped==0,rate_kept>=98%"

// runCapacity finds the highest rate that keeps the thresholds. Every rate is a run of its own (<run>-s01, -s02 …): a warm-up that does not
// count, then the time that does; when a threshold is about the audit's results, the orders are audited before the next rate.
func (s *session) runCapacity() error {
	s.cfg.Orders, s.cfg.Duration = 0, 0
	conditions := s.cfg.Thresholds
	if len(conditions) == 0 {
		if err := conditions.Decode(capacityThresholds); err != nil {
			return s.fail(err)
		}
	}
	summary := s.newSummary(time.Now())
	summary.Capacity = &report.Capacity{Conditions: conditions.String()}
	search := capacity.Search{Min: s.cfg.CapacityMin, Max: s.cfg.CapacityMax, Precision: float64(s.cfg.CapacityPrecision), Tries: 2}
	found, err := search.Run(func(rate float64) (bool, error) {
		step, err := s.capacityStep(rate, len(summary.Capacity.Steps)+1, conditions)
		if err != nil {
			return false, err
		}
		summary.Capacity.Steps = append(summary.Capacity.Steps, *step)
		// Too much load may make an api slow. It never excuses a lost order, so that the search does not end well after one.
		for _, broken := range step.Broken {
			summary.Faults = append(summary.Faults, fmt.Sprintf("at %g orders/s: %s", rate, broken))
		}
		return step.OK, nil
	})
	summary.Capacity.Best, summary.Capacity.Ceiling = found.Best, found.Ceiling
	if found.Best == 0 && err == nil {
		summary.Faults = append(summary.Faults, fmt.Sprintf("not even %g orders/s kept %s", s.cfg.CapacityMin, conditions))
	}
	return s.finish(summary, err)
}

// capacityStep tries one rate.
func (s *session) capacityStep(rate float64, n int, conditions thresholds.List) (*report.Step, error) {
	id := fmt.Sprintf("%s-s%02d", s.cfg.RunID, n)
	if s.cfg.CapacityWarmup > 0 {
		warm := s.newRun(id+"w", arrivals.Constant(rate, s.cfg.CapacityWarmup))
		stop := warm.watch(fmt.Sprintf("warming up at %g/s", rate))
		warm.send(0)
		stop()
	}
	r := s.newRun(id, arrivals.Constant(rate, s.cfg.CapacityMeasure))
	stop := r.watch(fmt.Sprintf("measuring %g/s", rate))
	r.send(0)
	var err error
	if conditions.NeedsAudit() && !s.interrupted() {
		err = r.audit(s.once)
	}
	stop()
	if err != nil {
		return nil, err
	}
	if s.interrupted() { // half a step says nothing
		return nil, context.Canceled
	}
	sum := r.summary()
	l := sum.Load
	step := &report.Step{
		Rate: rate, Achieved: l.Achieved, PostP50: l.Post.P50, PostP99: l.Post.P99, ErrorRate: l.Totals.ErrorRate(), Dropped: l.Totals.Dropped,
	}
	if sum.E2E != nil {
		step.E2EP99 = sum.E2E.P99
	}
	if sum.Audit != nil {
		step.Audit, step.Drain = sum.Audit.String(), sum.Audit.Drain.Seconds()
	}
	sum.Judge(conditions)
	step.Thresholds, step.Faults, step.Broken, step.OK = sum.Thresholds, sum.Faults, sum.BrokenPromises(), len(sum.Faults) == 0
	s.log.Info("capacity", slog.Float64("rate", rate), slog.Bool("held", step.OK), slog.Float64("achieved", l.Achieved), slog.Float64("post_p99_ms", l.Post.P99),
		slog.Float64("error_rate", step.ErrorRate), slog.Int64("dropped", step.Dropped))
	return step, nil
}
