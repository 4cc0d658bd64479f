// Package thresholds reads conditions such as `post_p99<50ms,lost==0,error_rate<0.1%` and says whether a result meets them. It knows
// the names and units of the measures, never where the values come from.
package thresholds

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Threshold is one condition.
type Threshold struct {
	Metric string
	Op     string
	Value  float64 // seconds for durations, 0 to 1 for shares
	text   string
}

// List is a list of them, separated by commas.
type List []Threshold

// Result says how one condition came out.
type Result struct {
	Condition string `json:"condition"`
	Actual    string `json:"actual"`
	OK        bool   `json:"ok"`
}

// Unit says how a measure's values are written.
type Unit int

// The units.
const (
	Count  Unit = iota // 12
	Time               // 50ms
	Ratio              // 0.1% or 0.001
	Number             // 812.5
)

// subject is what a condition can be about: how its values are written, and whether an audit and the sending of orders can tell them.
type subject struct {
	unit        Unit
	audit, load bool
}

var subjects = map[string]subject{
	"accepted": {Count, true, true}, "unknown": {Count, true, true}, "refused": {Count, true, true},
	"completed": {Count, true, false}, "dead": {Count, true, false}, "lost": {Count, true, false}, "duplicated": {Count, true, false},
	"stuck": {Count, true, false}, "drain": {Time, true, false},
	"wrongly_answered": {Count, false, true}, "errors": {Count, false, true}, "retries": {Count, false, true}, "late": {Count, false, true},
	"dropped": {Count, false, true}, "stalls": {Count, false, true}, "error_rate": {Ratio, false, true}, "dropped_rate": {Ratio, false, true},
	"late_rate": {Ratio, false, true}, "rate_kept": {Ratio, false, true}, "rate": {Number, false, true}, "max_lateness": {Time, false, true},
}

var (
	form       = regexp.MustCompile(`^\s*([a-z0-9_.]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*$`)
	percentile = regexp.MustCompile(`^(?:post|service|e2e)_(?:p(\d{1,2}(?:\.\d{1,3})?|100)|min|max|avg)$`)
)

// find is the subject of a measure's name; false when there is no such measure.
func find(metric string) (subject, bool) {
	if percentile.MatchString(metric) {
		e2e := strings.HasPrefix(metric, "e2e_")
		return subject{Time, e2e, !e2e}, true
	}
	s, ok := subjects[metric]
	return s, ok
}

// Metrics lists what a condition may be about, for messages and documentation.
func Metrics() string {
	names := []string{"post_pNN", "service_pNN", "e2e_pNN (NN from 0 to 100, such as 99.9; also _min, _avg, _max)"}
	return strings.Join(append(names, slices.Sorted(maps.Keys(subjects))...), ", ")
}

// Decode reads a list; envconfig and the flag call it. An empty text is no conditions.
func (l *List) Decode(text string) error {
	*l = nil
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var list List
	for part := range strings.SplitSeq(text, ",") {
		t, err := parse(part)
		if err != nil {
			return err
		}
		list = append(list, t)
	}
	*l = list
	return nil
}

func (l List) String() string {
	parts := make([]string, len(l))
	for i, t := range l {
		parts[i] = t.text
	}
	return strings.Join(parts, ",")
}

func parse(part string) (Threshold, error) {
	m := form.FindStringSubmatch(part)
	if m == nil {
		return Threshold{}, fmt.Errorf("%q is not a condition such as post_p99<50ms", strings.TrimSpace(part))
	}
	t := Threshold{Metric: m[1], Op: m[2], text: m[1] + m[2] + m[3]}
	about, ok := find(t.Metric)
	if !ok {
		return Threshold{}, fmt.Errorf("%q is not one of %s", t.Metric, Metrics())
	}
	value, err := parseValue(m[3], about.unit)
	if err != nil {
		return Threshold{}, fmt.Errorf("%q: %w", t.text, err)
	}
	t.Value = value
	return t, nil
}

func parseValue(text string, unit Unit) (float64, error) {
	if unit == Time {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 50ms", text)
		}
		return d.Seconds(), nil
	}
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	if percent {
		if unit != Ratio {
			return 0, errors.New("only rates of one thing to another are written in %")
		}
		f /= 100
	}
	return f, nil
}

// Evaluate asks for each measure's value and compares. A measure without a value (no order was completed, say) fails its condition:
// nothing was shown.
func (l List) Evaluate(value func(metric string) (float64, bool)) []Result {
	results := make([]Result, 0, len(l))
	for _, t := range l {
		v, ok := value(t.Metric)
		r := Result{Condition: t.text, Actual: "no value"}
		if ok {
			about, _ := find(t.Metric)
			r.OK, r.Actual = t.holds(v), Format(v, about.unit)
		}
		results = append(results, r)
	}
	return results
}

func (t Threshold) holds(v float64) bool {
	switch t.Op {
	case "<":
		return v < t.Value
	case "<=":
		return v <= t.Value
	case ">":
		return v > t.Value
	case ">=":
		return v >= t.Value
	case "==":
		return v == t.Value
	}
	return v != t.Value
}

// About says whether a condition is about this measure.
func (l List) About(metric string) bool {
	return slices.ContainsFunc(l, func(t Threshold) bool { return t.Metric == metric })
}

// NeedsAudit says whether a condition is about what only the audit can tell.
func (l List) NeedsAudit() bool {
	return slices.ContainsFunc(l, func(t Threshold) bool { return OfAudit(t.Metric) && !OfLoad(t.Metric) })
}

// OfAudit says whether an audit has a value for the measure.
func OfAudit(metric string) bool { s, _ := find(metric); return s.audit }

// OfLoad says whether the sending of orders has.
func OfLoad(metric string) bool { s, _ := find(metric); return s.load }

// Format writes a value in its unit.
func Format(v float64, unit Unit) string {
	switch unit {
	case Time:
		return Duration(time.Duration(v * float64(time.Second)))
	case Ratio:
		return strconv.FormatFloat(v*100, 'g', 4, 64) + "%"
	case Number:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
}

// Duration writes a duration with three significant digits, as people read them: 812µs, 4.21ms, 1.30s, 2m5s.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d >= 999500*time.Microsecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + "s"
	case d >= 100*time.Millisecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + "ms"
	case d >= 10*time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) + "ms"
	case d >= 999500*time.Nanosecond:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64) + "ms"
	}
	return strconv.FormatInt(d.Round(time.Microsecond).Microseconds(), 10) + "µs"
}
