package report

import "fmt"

// Judge lists what is wrong with the run, in words. The audit's promise needs no threshold: it is always judged.
func (s *Summary) Judge() {
	fault := func(n int64, format string) {
		if n > 0 {
			s.Faults = append(s.Faults, fmt.Sprintf(format, grouped(n)))
		}
	}
	if a := s.Audit; a != nil {
		fault(int64(a.Lost), "%s orders lost: answered 201 and not there")
		fault(int64(a.Duplicated), "%s orders duplicated: made or processed more than once")
		fault(int64(a.Stuck), "%s orders stuck: still pending at the end")
		fault(int64(a.NoEffect), "%s orders completed without their effect")
		fault(int64(a.RefusedFound), "%s orders refused, and made all the same")
	}
	if l := s.Load; l != nil {
		fault(l.Totals.Unknown, "%s orders never answered")
		fault(l.Totals.Refused, "%s valid orders refused")
		fault(l.Totals.WronglyAnswered(), "%s poison, oversized or duplicate requests answered wrongly")
	}
	for _, t := range s.Thresholds {
		if !t.OK {
			s.Faults = append(s.Faults, fmt.Sprintf("threshold %s: %s", t.Condition, t.Actual))
		}
	}
}
