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
	row(w, "orders", listed(part{t.Accepted, "accepted"}, part{t.Refused, "refused"}, part{t.Unknown, "never answered"}, part{t.Replayed, "replayed"},
		part{t.Sent - t.Accepted - t.Refused - t.Unknown, "still under way"}))
	tries := maps.Clone(t.Failures)
	if tries == nil {
		tries = map[string]int64{}
	}
	for status, n := range t.Status {
		tries[strconv.Itoa(status)] = n
	}
	row(w, "tries", fmt.Sprintf("%s: %s; %s retries, error rate %s", grouped(t.Tries), counts(tries), grouped(t.Retries),
		thresholds.Format(t.ErrorRate(), thresholds.Ratio)))
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
		row(w, kind, listed(part{x.Sent, "sent"}, part{x.Expected, "answered as expected"}, part{x.Wrong, "wrongly"}, part{x.Unheard, "not at all"}))
	}
	for _, list := range [][]string{t.WrongExamples, t.BrokenExamples} {
		for _, x := range list[:min(len(list), 3)] {
			row(w, "  answer", orders.Readable(x))
		}
	}
	for _, x := range l.Stalls[:min(len(l.Stalls), 6)] {
		row(w, "stall", fmt.Sprintf("%.2fs at %.1fs, in which nothing was answered", x.For, x.At))
	}
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
	if u := a.Unknown; u.Orders > 0 {
		what := " never answered: "
		if s.Load == nil { // known by its keys alone
			what = " never answered, or lost: "
		}
		row(w, "unknown", grouped(int64(u.Orders))+what+listed(part{int64(u.Missing), "not found"}, part{int64(u.Completed), "completed"},
			part{int64(u.Dead), "dead"}, part{int64(u.Pending), "pending"}, part{int64(u.Orders - u.Missing - u.Completed - u.Dead - u.Pending), "not looked for"}))
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

// part is some of a whole.
type part struct {
	n    int64
	what string
}

// listed names the parts that there are.
func listed(parts ...part) string {
	var out []string
	for _, p := range parts {
		if p.n > 0 {
			out = append(out, grouped(p.n)+" "+p.what)
		}
	}
	return strings.Join(out, ", ")
}

// grouped writes a whole number with commas between its thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
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
