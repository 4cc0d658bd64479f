package report

import "fmt"

// Judge lists what is wrong with the run, in words. The audit's promise needs no threshold: it is always judged.
func (s *Summary) Judge() {
	fault := func(n int64, format string) {
		if n > 0 {
			s.Faults = append(s.Faults, fmt.Sprintf(format, several(n, "order")))
		}
	}
	if a := s.Audit; a != nil {
		fault(int64(a.Lost), "%s lost: answered 201 and not there")
		fault(int64(a.Duplicated), "%s duplicated: made or processed more than once")
		fault(int64(a.Stuck), "%s stuck: still pending at the end")
		fault(int64(a.NoEffect), "%s completed without their effect")
		fault(int64(a.RefusedFound), "%s refused, and made all the same")
	}
	if l := s.Load; l != nil {
		fault(l.Totals.Unknown, "%s never answered")
		fault(l.Totals.Refused, "%s refused though valid")
		if n := l.Totals.WronglyAnswered(); n > 0 {
			s.Faults = append(s.Faults, several(n, "poison, oversized or duplicate request")+" answered wrongly")
		}
	}
	for _, t := range s.Thresholds {
		if !t.OK {
			s.Faults = append(s.Faults, fmt.Sprintf("threshold %s: %s", t.Condition, t.Actual))
		}
	}
}

// several writes a number of things.
func several(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}
