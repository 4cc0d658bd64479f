package dashboard

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// none is what stands where nothing is known.
const none = "–"

// count writes a whole number, as in 12,345. A pointer to none is not known.
func count(n any) string {
	v := reflect.ValueOf(n)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return none
		}
		v = v.Elem()
	}
	return thousands(v.Int())
}

func thousands(n int64) string {
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "-"
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// rate writes so many a second: with a decimal as long as that says something.
func rate(perSecond *float64) string {
	if perSecond == nil || math.IsNaN(*perSecond) || math.IsInf(*perSecond, 0) {
		return none
	}
	switch r := *perSecond; {
	case r <= 0:
		return "0"
	case r < 0.05:
		return "<0.1"
	case r < 9.95:
		return strconv.FormatFloat(r, 'f', 1, 64)
	default:
		return thousands(int64(math.Round(r)))
	}
}

// age writes a number of seconds.
func age(seconds float64) string {
	if math.IsNaN(seconds) || seconds > math.MaxInt64/1e9 {
		return none
	}
	return span(time.Duration(seconds * float64(time.Second)))
}

// ago writes how long ago something was that is seen every second or so.
func ago(seconds float64) string {
	if seconds < 2 {
		return "now"
	}
	return age(seconds) + " ago"
}

// since writes the time between two moments. Clocks differ: it is never less than nothing.
func since(now, then time.Time) string { return span(max(0, now.Sub(then).Truncate(time.Second))) }

// span writes a duration in its two largest units, which is as much as anybody reads.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 s"
	case d < time.Millisecond:
		return "<1 ms"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 9950*time.Millisecond:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	}
	seconds := int64(d.Round(time.Second).Seconds())
	units := []struct {
		name string
		size int64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}
	for i, unit := range units {
		if seconds < unit.size {
			continue
		}
		text := thousands(seconds/unit.size) + " " + unit.name
		if i+1 < len(units) {
			if rest := seconds % unit.size / units[i+1].size; rest > 0 {
				text += " " + strconv.FormatInt(rest, 10) + " " + units[i+1].name
			}
		}
		return text
	}
	return "0 s"
}

// clock writes a moment: the time of today, and the day before it otherwise.
func clock(t time.Time) string { return clockAt(time.Now(), t) }

func clockAt(now, t time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch {
	case t.IsZero():
		return none
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04:05")
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04:05")
	default:
		return t.Format("2 Jan 2006 15:04")
	}
}

// iso writes a moment for programs.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func share(part, whole int) int {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(100, int(math.Round(100*float64(part)/float64(whole))))
}

// parsedTime reads a time as dead letters have it: text that anybody can have written. What is none is nil.
func parsedTime(text string) *time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil
	}
	return &t
}

// fine is how many of the doctor's findings need nothing to be done.
func fine(findings []Finding) (n int) {
	for _, f := range findings {
		if f.Advice == "" {
			n++
		}
	}
	return n
}

// tone is how a moment of an order's story looks: good, bad, or of no weight.
func tone(kind string) string {
	switch kind {
	case "completed":
		return "good"
	case "buried":
		return "bad"
	case "failed", "permanent", "timed_out", "lease_lost":
		return "warn"
	}
	return ""
}
