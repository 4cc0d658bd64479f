package report

import (
	"fmt"
	"strconv"
	"strings"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/receive"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Judge evaluates the conditions, and lists what is wrong with the run, in words. The audit's promise needs no threshold: it is always judged, and a
// run that shows nothing does not pass. Only how many orders may be dead, a condition can say.
func (s *Summary) Judge(conditions thresholds.List) {
	s.Thresholds = conditions.Evaluate(s.Value)
	if s.Audit != nil {
		s.Faults = append(s.Faults, s.BrokenPromises()...)
		s.judgeAudit(s.Audit, conditions.About("dead"))
	}
	if s.Receiver != nil {
		s.judgeReceiver(s.Receiver)
	}
	if s.Load != nil {
		s.judgeLoad(&s.Load.Totals)
	}
	if s.Capacity == nil && (s.Load == nil || s.Load.Totals.Accepted == 0) && (s.Audit == nil || s.Audit.Accepted == 0) {
		s.Faults = append(s.Faults, "no order was accepted: the run shows nothing")
	}
	for _, t := range s.Thresholds {
		if !t.OK {
			s.Faults = append(s.Faults, fmt.Sprintf("threshold %s: %s", t.Condition, t.Actual))
		}
	}
}

// BrokenPromises are the faults that nothing excuses: neither an api that has too much to do nor a run that was cut short.
func (s *Summary) BrokenPromises() []string {
	a := s.Audit
	if a == nil {
		return nil
	}
	var broken []string
	for _, x := range [...]struct {
		n    int
		text string
	}{
		{a.Lost, "%s lost: accepted and not there"},
		{a.Duplicated, "%s duplicated: made or processed more than once"},
		{a.Altered, "%s altered: stored with other data than were sent"},
		{a.Misnamed, "%s misnamed: answered with a wrong id"},
		{a.NoEffect, "%s completed without an effect"},
		{a.DeadEffect, "%s dead, and processed all the same"},
		{a.RefusedFound, "%s refused, and made all the same"},
		{a.PoisonFound, "%s made of invalid requests"},
	} {
		if x.n > 0 {
			broken = append(broken, fmt.Sprintf(x.text, several(int64(x.n), "order")))
		}
	}
	return broken
}

func (s *Summary) judgeAudit(a *audit.Result, deadAllowed bool) {
	s.fault(int64(a.Stuck), "%s stuck: still pending at the end")
	s.fault(int64(a.Undetermined), "%s undetermined: the audit was cut short")
	s.fault(int64(a.Strays), "%s not accounted for: numbered far beyond all others")
	if a.Left > 0 {
		s.Faults = append(s.Faults, several(int64(a.Left), "message")+" left in the queue: each order is settled, and nobody else has sent any")
	}
	if s.Load == nil {
		s.fault(int64(a.Unknown.Orders), "%s missing: never answered, or lost")
	}
	if !deadAllowed {
		s.fault(int64(a.Dead), "%s dead: given up by the consumer (a threshold such as dead<=5 says how many may be)")
	}
}

// judgeReceiver takes over what the receiver found. An account of other orders than the run's proves nothing about these.
func (s *Summary) judgeReceiver(a *receive.Account) {
	for _, fault := range a.Faults {
		s.Faults = append(s.Faults, "receiver: "+fault)
	}
	switch {
	case a.Orders == nil:
		s.Faults = append(s.Faults, "receiver: it has no API_URL, so it cannot tell what never arrived")
	case s.Audit != nil && a.Orders.Accepted < s.Audit.Accepted:
		s.Faults = append(s.Faults, fmt.Sprintf("receiver: it accounted for %d of %s", a.Orders.Accepted, several(int64(s.Audit.Accepted), "accepted order")))
	}
}

func (s *Summary) judgeLoad(t *measure.Totals) {
	s.fault(t.Unknown, "%s never answered")
	s.fault(t.Refused, "%s refused though valid")
	s.fault(t.Broken[measure.Altered], "%s answered with other data than were sent")
	s.fault(t.Broken[measure.NoID], "%s accepted without an id in the answer")
	s.fault(t.Broken[measure.Not201], "%s accepted with another status than 201")
	if n := t.WronglyAnswered(); n > 0 {
		s.Faults = append(s.Faults, several(n, "poison or duplicate request")+" answered wrongly")
	}
	if n := t.Unanswered(); n > 0 {
		s.Faults = append(s.Faults, several(n, "poison or duplicate request")+" never answered")
	}
	if t.Dropped > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf(
			"%s of %s arrivals were dropped: the api was not sent the load that was asked for", grouped(t.Dropped), grouped(t.Due)))
	}
}

// fault adds a fault with how many orders it is about, when there are any.
func (s *Summary) fault(n int64, format string) {
	if n > 0 {
		s.Faults = append(s.Faults, fmt.Sprintf(format, several(n, "order")))
	}
}

// several writes a number of things.
func several(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// Value is the value of a measure that a threshold names; false when the run has none.
func (s *Summary) Value(metric string) (float64, bool) {
	first, rest, _ := strings.Cut(metric, "_")
	if h, ok := s.histograms[first]; ok {
		return histogramValue(h, rest)
	}
	if a := s.Audit; a != nil {
		if metric == "drain" {
			return a.Drain.Seconds(), a.HasDrain
		}
		n, ok := map[string]int{
			"accepted": a.Accepted, "completed": a.Completed, "dead": a.Dead, "lost": a.Lost, "duplicated": a.Duplicated, "stuck": a.Stuck,
			"unknown": a.Unknown.Orders, "refused": a.Refused,
		}[metric]
		if ok {
			return float64(n), true
		}
	}
	if s.Load == nil {
		return 0, false
	}
	return s.Load.value(metric)
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

func (l *Load) value(metric string) (float64, bool) {
	t := &l.Totals
	switch metric {
	case "error_rate":
		return t.ErrorRate(), t.Tries > 0
	case "late_rate":
		return float64(t.Late) / float64(max(1, t.Due)), t.Due > 0
	case "dropped_rate":
		return float64(t.Dropped) / float64(max(1, t.Due)), t.Due > 0
	case "max_lateness":
		return t.MaxLate / 1000, true
	case "rate":
		return l.Achieved, true
	case "rate_kept":
		return l.Kept, l.Intended > 0
	}
	n, ok := map[string]int64{
		"accepted": t.Accepted, "unknown": t.Unknown, "refused": t.Refused, "errors": t.Failed, "retries": t.Retries,
		"wrongly_answered": t.WronglyAnswered(), "late": t.Late, "dropped": t.Dropped, "stalls": int64(len(l.Stalls)),
	}[metric]
	return float64(n), ok
}
