package report

import (
	"fmt"

	"orderflow.example/services/loadgen/internal/measure"
)

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
		fault(int64(a.Altered), "%s altered: stored with other data than were sent")
		fault(int64(a.Misnamed), "%s misnamed: answered with a wrong id")
		if a.Hidden > 0 {
			s.Faults = append(s.Faults, fmt.Sprintf("%s hidden: listed, and not known by id (of %s that were asked for)", several(int64(a.Hidden), "order"), grouped(int64(a.Asked))))
		}
		fault(int64(a.Stuck), "%s stuck: still pending at the end")
		fault(int64(a.Undetermined), "%s undetermined: the audit was cut short")
		fault(int64(a.NoEffect), "%s completed without an effect")
		fault(int64(a.RefusedFound), "%s refused, and made all the same")
		fault(int64(a.Strays), "%s not accounted for: numbered far beyond all others")
		if s.Load == nil {
			fault(int64(a.Unknown.Orders), "%s missing: never answered, or lost")
		}
	}
	if l := s.Load; l != nil {
		fault(l.Totals.Unknown, "%s never answered")
		fault(l.Totals.Refused, "%s refused though valid")
		fault(l.Totals.Broken[measure.Altered], "%s answered with other data than were sent")
		fault(l.Totals.Broken[measure.NoID], "%s accepted without an id in the answer")
		fault(l.Totals.Broken[measure.Not201], "%s accepted with another status than 201")
		if n := l.Totals.WronglyAnswered(); n > 0 {
			s.Faults = append(s.Faults, several(n, "poison, oversized or duplicate request")+" answered wrongly")
		}
		if n := l.Totals.Unanswered(); n > 0 {
			s.Faults = append(s.Faults, several(n, "poison, oversized or duplicate request")+" never answered")
		}
	}
	if l := s.Load; l != nil && l.Totals.Dropped > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s of %s arrivals were dropped: the api was not sent the load that was asked for", grouped(l.Totals.Dropped), grouped(l.Totals.Due)))
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
