package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Text writes the final table. Its last line is the audit's.
func (s *Summary) Text(w io.Writer) {
	text := s.RunID
	if s.Index > 0 {
		text += fmt.Sprintf(" (generator %d)", s.Index)
	}
	fmt.Fprintln(w)
	row(w, "run", text+" against "+s.API)
	if s.Load != nil {
		s.loadText(w)
	}
	s.latencyText(w)
	if s.Audit != nil {
		s.auditText(w)
	}
	if s.Receiver != nil {
		row(w, "receiver", s.Receiver.Line())
		for _, x := range s.Receiver.Examples {
			row(w, "", x)
		}
	}
	if s.Capacity != nil {
		s.Capacity.text(w, s.Interrupted)
	}
	for _, t := range s.Thresholds {
		row(w, "threshold", fmt.Sprintf("%s %s (%s)", sign(t.OK), t.Condition, t.Actual))
	}
	for _, x := range s.Warnings {
		row(w, "WARNING", x)
	}
	for _, f := range s.Faults {
		row(w, "FAULT", f)
	}
	if s.Interrupted {
		row(w, "interrupted", "by a signal: this is what there was until then")
	}
	if s.Audit != nil {
		fmt.Fprintln(w, "audit:", s.Audit.Figures)
	}
}

func sign(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

func row(w io.Writer, name, text string) { fmt.Fprintf(w, "%-12s %s\n", name, text) }

func (s *Summary) loadText(w io.Writer) {
	l, t := s.Load, &s.Load.Totals
	row(w, "load", l.Model+" model, "+l.Shape)
	sent := fmt.Sprintf("%s in %s: %s/s", several(t.Sent, "order"), seconds(l.Seconds), rate(l.Achieved))
	if l.Intended > 0 {
		sent += fmt.Sprintf(" of %s/s intended (%.1f%%)", rate(l.Intended), l.Kept*100)
	}
	row(w, "sent", sent)
	answers := fmt.Sprintf("%s accepted", grouped(t.Accepted))
	for _, x := range []struct {
		n    int64
		what string
	}{{t.Refused, "refused"}, {t.Unknown, "never answered"}, {t.Replayed, "replayed"}, {t.Sent - t.Accepted - t.Refused - t.Unknown, "still under way"}} {
		if x.n > 0 {
			answers += fmt.Sprintf(", %s %s", grouped(x.n), x.what)
		}
	}
	row(w, "orders", answers)
	row(w, "tries", triesText(t))
	if len(t.Unheard) > 0 {
		row(w, "", "answers lost after the commit (the retry was a replay): "+counts(t.Unheard))
	}
	if t.Replayed == 0 && t.Failures["reset"]+t.Failures["timeout"] > 0 {
		row(w, "", "whether tries without an answer had been committed could not be seen: no retry was answered with Idempotency-Replayed")
	}
	if t.RetryAfter > 0 {
		row(w, "", fmt.Sprintf("Retry-After honoured %s times, %s in all", grouped(t.RetryAfter),
			thresholds.Duration(time.Duration(t.RetryAfterMillis)*time.Millisecond)))
	}
	if l.Intended > 0 && (t.Late > 0 || t.Dropped > 0) {
		row(w, "arrivals", fmt.Sprintf("%s due, %s late (at most %s), %s dropped", grouped(t.Due), grouped(t.Late),
			thresholds.Duration(time.Duration(t.MaxLate*1e6)), grouped(t.Dropped)))
	}
	for _, kind := range slices.Sorted(maps.Keys(t.Wrong)) {
		x := t.Wrong[kind]
		row(w, kind, fmt.Sprintf("%s sent, %s answered as expected, %s wrongly, %s not at all",
			grouped(x.Sent), grouped(x.Expected), grouped(x.Wrong), grouped(x.Unheard)))
	}
	for _, list := range [][]string{t.WrongExamples, t.BrokenExamples} {
		for _, x := range list[:min(len(list), 3)] {
			row(w, "  answer", orders.Readable(x))
		}
	}
	if len(l.Stalls) > 0 {
		row(w, "stalls", stallsText(l.Stalls))
	}
}

func triesText(t *measure.Totals) string {
	status := map[string]int64{}
	for code, n := range t.Status {
		status[strconv.Itoa(code)] = n
	}
	text := fmt.Sprintf("%s: %s", grouped(t.Tries), counts(status))
	if len(t.Failures) > 0 {
		if len(status) > 0 {
			text += ", "
		}
		text += counts(t.Failures)
	}
	return text + fmt.Sprintf("; %s retries, error rate %s", grouped(t.Retries), thresholds.Format(t.ErrorRate(), thresholds.Ratio))
}

func stallsText(stalls []StallSeconds) string {
	const most = 6
	var parts []string
	for _, x := range stalls[:min(len(stalls), most)] {
		parts = append(parts, fmt.Sprintf("%.2fs at %.1fs", x.For, x.At))
	}
	if len(stalls) > most {
		parts = append(parts, "…")
	}
	return fmt.Sprintf("%s in which nothing was answered: %s", several(int64(len(stalls)), "time"), strings.Join(parts, ", "))
}

func (s *Summary) latencyText(w io.Writer) {
	type named struct {
		name string
		l    *measure.Latency
	}
	var rows []named
	if s.Load != nil {
		rows = append(rows, named{"post", &s.Load.Post}, named{"service", &s.Load.Service})
	}
	if s.E2E != nil {
		rows = append(rows, named{"e2e", s.E2E})
	}
	rows = slices.DeleteFunc(rows, func(r named) bool { return r.l.Count == 0 })
	if len(rows) > 0 {
		fmt.Fprintf(w, "%-12s %9s %9s %9s %9s %9s %9s %9s\n", "latency", "p50", "p90", "p95", "p99", "p99.9", "p99.99", "max")
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  %-10s", r.name)
		for _, v := range []float64{r.l.P50, r.l.P90, r.l.P95, r.l.P99, r.l.P999, r.l.P9999, r.l.Max} {
			fmt.Fprintf(w, " %9s", millis(v))
		}
		fmt.Fprintln(w)
	}
}

func (s *Summary) auditText(w io.Writer) {
	a := s.Audit
	row(w, "processed", fmt.Sprintf("%s of %s accepted orders", grouped(int64(a.Completed+a.Dead)), grouped(int64(a.Accepted))))
	if a.HasDrain {
		row(w, "drain", thresholds.Duration(a.Drain)+" from when the last order was made to when the last one was processed")
	}
	for _, x := range []struct {
		n    int
		what string
	}{
		{a.Stuck, "stuck: still pending"},
		{a.Undetermined, "undetermined: the audit was cut short"},
		{a.Altered, "altered: stored with other data than were sent"},
		{a.Misnamed, "misnamed: answered with a wrong id"},
		{a.NoEffect, "completed without an effect"},
		{a.RefusedFound, "refused, and there all the same"},
	} {
		if x.n > 0 {
			row(w, "", fmt.Sprintf("%s %s", grouped(int64(x.n)), x.what))
		}
	}
	if u := a.Unknown; u.Orders > 0 {
		text := fmt.Sprintf("%d never answered: %d not found, %d completed, %d dead, %d pending", u.Orders, u.Missing, u.Completed, u.Dead, u.Pending)
		if n := u.Orders - u.Missing - u.Completed - u.Dead - u.Pending; n > 0 {
			text += fmt.Sprintf(", %d not looked for", n)
		}
		row(w, "unknown", text)
	}
	for _, e := range a.Examples {
		text := e.Key
		if e.ID != 0 {
			text += fmt.Sprintf(" id=%d", e.ID)
		}
		if !e.SentAt.IsZero() {
			text += " sent=" + e.SentAt.UTC().Format("15:04:05.000")
		}
		if e.Status != "" {
			text += fmt.Sprintf(" status=%s attempts=%d", e.Status, e.Attempts)
		}
		if e.LastError != "" {
			text += fmt.Sprintf(" last_error=%q", e.LastError)
		}
		row(w, "  "+e.Fault, orders.Readable(text)+": "+e.Note)
	}
	for _, n := range a.Notes {
		row(w, "note", n)
	}
}

func counts(m map[string]int64) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s × %s", grouped(m[k]), k))
	}
	return strings.Join(parts, ", ")
}

// grouped writes a whole number with commas between its thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

func rate(r float64) string {
	if r < 100 {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return grouped(int64(r + 0.5))
}

func seconds(s float64) string { return thresholds.Duration(time.Duration(s * float64(time.Second))) }

func millis(v float64) string {
	return thresholds.Duration(time.Duration(v * float64(time.Millisecond)))
}
