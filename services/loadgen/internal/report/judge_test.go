package report_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

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
		"left in the queue":              {change: func(s *report.Summary) { s.Audit.Left = 2 }, fault: "2 messages left in the queue"},
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

// histogram has these many milliseconds.
func histogram(millis ...int) *measure.Histogram {
	h := measure.NewHistogram()
	for _, m := range millis {
		h.Record(time.Duration(m) * time.Millisecond)
	}
	return h
}

// Each measure that a condition may name is its own: no other one's value, and in seconds where it is a time.
func TestEveryMeasureIsItsOwn(t *testing.T) {
	t.Parallel()
	load := func() *report.Load {
		return &report.Load{
			Intended: 300, Achieved: 209.5, Kept: 0.75, Stalls: make([]report.StallSeconds, 3),
			Totals: measure.Totals{
				Accepted: 201, Unknown: 202, Refused: 203, Failed: 204, Tries: 816, Retries: 205, Late: 207, Dropped: 46, Due: 414, MaxLate: 1234,
				Wrong: map[string]measure.Special{"poison": {Wrong: 200}, "duplicate": {Wrong: 6}},
			},
		}
	}
	both, sent := &report.Summary{}, &report.Summary{}
	both.SetLoad(load(), histogram(10, 30), histogram(40, 60))
	sent.SetLoad(load(), histogram(), histogram())
	both.SetAudit(&audit.Result{
		Figures: audit.Figures{Accepted: 101, Completed: 102, Dead: 103, Lost: 104, Duplicated: 105, Stuck: 106, Refused: 108, Unknown: audit.Unknown{Orders: 107}},
		E2E:     histogram(70, 90), Drain: 12 * time.Second, HasDrain: true,
	})
	want := map[string]float64{
		"accepted": 101, "completed": 102, "dead": 103, "lost": 104, "duplicated": 105, "stuck": 106, "unknown": 107, "refused": 108, "drain": 12,
		"errors": 204, "retries": 205, "wrongly_answered": 206, "late": 207, "dropped": 46, "stalls": 3, "error_rate": 0.25, "late_rate": 0.5,
		"dropped_rate": 46. / 414, "rate": 209.5, "rate_kept": 0.75, "max_lateness": 1.234,
	}
	_, names, _ := strings.Cut(thresholds.Metrics(), "_max), ")
	if listed := strings.Split(names, ", "); len(listed) != len(want) {
		t.Errorf("%d measures are tried, and there are %d: %q", len(want), len(listed), listed)
	}
	for name, value := range map[string]float64{
		"post_min": 0.010, "post_max": 0.030, "post_avg": 0.020, "post_p1": 0.010, "post_p99": 0.030,
		"service_min": 0.040, "service_avg": 0.050, "service_p99": 0.060, "e2e_min": 0.070, "e2e_avg": 0.080, "e2e_p99": 0.090,
	} {
		want[name] = value
	}
	for name, value := range want {
		if got, ok := both.Value(name); !ok || math.Abs(got-value) > 0.002*value {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, value)
		}
	}
	for name, value := range map[string]float64{"accepted": 201, "unknown": 202, "refused": 203} {
		if got, ok := sent.Value(name); !ok || got != value {
			t.Errorf("without an audit, %s is %v (%v), want %v", name, got, ok, value)
		}
	}
	closed := &report.Summary{Load: &report.Load{}, Audit: &audit.Result{}}
	for _, name := range []string{"error_rate", "late_rate", "dropped_rate", "rate_kept", "drain", "post_p99", "e2e_max"} {
		if got, ok := closed.Value(name); ok {
			t.Errorf("of nothing, %s is %v", name, got)
		}
	}
}
