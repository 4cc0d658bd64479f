package report_test

import (
	"reflect"
	"strings"
	"testing"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/receive"
	"orderflow.example/services/loadgen/internal/report"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// sound is a run of ten orders with which nothing is wrong.
func sound() *report.Summary {
	return &report.Summary{
		Load:  &report.Load{Totals: measure.Totals{Sent: 10, Accepted: 10}},
		Audit: &audit.Result{Figures: audit.Figures{Accepted: 10, Completed: 10}},
	}
}

// Each thing that can be wrong with a run fails it, alone, and says what it is.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change     func(s *report.Summary)
		conditions string
		fault      string // how the only fault begins; "" = there is none
	}{
		"nothing is wrong":               {change: func(*report.Summary) {}},
		"lost":                           {change: func(s *report.Summary) { s.Audit.Lost = 1 }, fault: "1 order lost"},
		"duplicated":                     {change: func(s *report.Summary) { s.Audit.Duplicated = 2 }, fault: "2 orders duplicated"},
		"altered":                        {change: func(s *report.Summary) { s.Audit.Altered = 1 }, fault: "1 order altered"},
		"misnamed":                       {change: func(s *report.Summary) { s.Audit.Misnamed = 1 }, fault: "1 order misnamed"},
		"stuck":                          {change: func(s *report.Summary) { s.Audit.Stuck = 1 }, fault: "1 order stuck"},
		"undetermined":                   {change: func(s *report.Summary) { s.Audit.Undetermined = 1 }, fault: "1 order undetermined"},
		"without effect":                 {change: func(s *report.Summary) { s.Audit.NoEffect = 1 }, fault: "1 order completed without an effect"},
		"dead, with an effect":           {change: func(s *report.Summary) { s.Audit.DeadEffect = 1 }, fault: "1 order dead, and processed"},
		"made of invalid requests":       {change: func(s *report.Summary) { s.Audit.PoisonFound = 2 }, fault: "2 orders made of invalid"},
		"refused and there":              {change: func(s *report.Summary) { s.Audit.RefusedFound = 1 }, fault: "1 order refused, and made"},
		"strays":                         {change: func(s *report.Summary) { s.Audit.Strays = 1 }, fault: "1 order not accounted for"},
		"dead":                           {change: func(s *report.Summary) { s.Audit.Dead = 1 }, fault: "1 order dead"},
		"dead, with a threshold":         {change: func(s *report.Summary) { s.Audit.Dead = 1 }, conditions: "dead<=1"},
		"missing, when nothing was sent": {change: func(s *report.Summary) { s.Load, s.Audit.Unknown.Orders = nil, 1 }, fault: "1 order missing: never answered, or lost"},

		"received": {change: func(s *report.Summary) { s.Receiver = &receive.Account{Orders: &receive.Orders{Accepted: 10}} }},
		"never received": {change: func(s *report.Summary) {
			s.Receiver = &receive.Account{Orders: &receive.Orders{Accepted: 10}, Faults: []string{"1 completed and never arrived"}}
		}, fault: "receiver: 1 completed and never arrived"},
		"a receiver without an api":  {change: func(s *report.Summary) { s.Receiver = &receive.Account{} }, fault: "receiver: it has no API_URL"},
		"an account of other orders": {change: func(s *report.Summary) { s.Receiver = &receive.Account{Orders: &receive.Orders{Accepted: 9}} }, fault: "receiver: it accounted for 9 of 10 accepted orders"},

		"never answered":         {change: func(s *report.Summary) { s.Load.Totals.Unknown = 1 }, fault: "1 order never answered"},
		"refused":                {change: func(s *report.Summary) { s.Load.Totals.Refused = 1 }, fault: "1 order refused though valid"},
		"answered as another":    {change: func(s *report.Summary) { s.Load.Totals.Broken = map[string]int64{measure.Altered: 1} }, fault: "1 order answered with other data"},
		"answered without id":    {change: func(s *report.Summary) { s.Load.Totals.Broken = map[string]int64{measure.NoID: 1} }, fault: "1 order accepted without an id"},
		"answered, not with 201": {change: func(s *report.Summary) { s.Load.Totals.Broken = map[string]int64{measure.Not201: 1} }, fault: "1 order accepted with another status"},
		"poison accepted": {change: func(s *report.Summary) {
			s.Load.Totals.Wrong = map[string]measure.Special{"poison": {Sent: 3, Wrong: 1}}
		}, fault: "1 poison or duplicate request answered wrongly"},
		"poison not answered": {change: func(s *report.Summary) {
			s.Load.Totals.Wrong = map[string]measure.Special{"poison": {Sent: 3, Unheard: 2}}
		}, fault: "2 poison or duplicate requests never answered"},

		"nothing accepted":             {change: func(s *report.Summary) { *s.Load, *s.Audit = report.Load{}, audit.Result{} }, fault: "no order was accepted"},
		"nothing accepted, no audit":   {change: func(s *report.Summary) { *s.Load, s.Audit = report.Load{}, nil }, fault: "no order was accepted"},
		"a threshold that is not held": {change: func(s *report.Summary) { s.Load.Achieved = 3 }, conditions: "rate>9", fault: "threshold rate>9: 3.0"},
		"the same, without an audit":   {change: func(s *report.Summary) { s.Audit, s.Load.Achieved = nil, 3 }, conditions: "rate>9", fault: "threshold rate>9: 3.0"},
		"a threshold that is held":     {change: func(s *report.Summary) { s.Load.Achieved = 10 }, conditions: "rate>9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conditions thresholds.List
			if err := conditions.Decode(test.conditions); err != nil {
				t.Fatal(err)
			}
			s := sound()
			test.change(s)
			s.Judge(conditions)
			switch {
			case test.fault == "" && len(s.Faults) > 0:
				t.Errorf("faults: %q", s.Faults)
			case test.fault != "" && (len(s.Faults) != 1 || !strings.HasPrefix(s.Faults[0], test.fault)):
				t.Errorf("faults: %q; want one that begins with %q", s.Faults, test.fault)
			}
		})
	}
}

// What the audit counts, it counts for a reason: a new figure of its result is judged, or stands here as one that says nothing bad.
func TestNothingThatTheAuditCountsGoesUnjudged(t *testing.T) {
	t.Parallel()
	harmless := map[string]bool{
		"Accepted": true, "Completed": true, // what was found
		"Refused": true, // the sending counts them
		"Unknown": true, // likewise, and an audit without it says that they are missing
	}
	fields := reflect.TypeFor[audit.Figures]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		s := sound()
		if harmless[name] {
			continue
		}
		reflect.ValueOf(&s.Audit.Figures).Elem().Field(i).SetInt(1)
		if s.Judge(nil); len(s.Faults) == 0 {
			t.Errorf("audit.Figures.%s is not judged", name)
		}
	}
}
