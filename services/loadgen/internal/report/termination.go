package report

import (
	"fmt"
	"os"
	"strings"

	"orderflow.example/services/loadgen/internal/thresholds"
)

// terminationLimit is what Kubernetes keeps of a container's termination message.
const terminationLimit = 4096

// WriteTermination writes the summary as the container's termination message. The file must exist: the kubelet makes it, and anywhere else
// there is nobody to read it.
func (s *Summary) WriteTermination(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("termination message: %w", err)
	}
	_, err = f.WriteString(s.Termination())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("termination message: %w", err)
	}
	return nil
}

// Termination is the summary in at most 4096 bytes: the audit's line first, as that is what is looked for.
func (s *Summary) Termination() string {
	var b strings.Builder
	if s.Audit != nil {
		fmt.Fprintln(&b, s.Audit.Line())
	}
	fmt.Fprintf(&b, "run %s exit=%d", s.RunID, s.ExitCode)
	if l := s.Load; l != nil {
		fmt.Fprintf(&b, " rate=%s/s post_p50=%s post_p99=%s errors=%s", rate(l.Achieved), millis(l.Post.P50), millis(l.Post.P99),
			thresholds.Format(l.Totals.ErrorRate(), thresholds.Ratio))
	}
	if s.E2E != nil {
		fmt.Fprintf(&b, " e2e_p50=%s e2e_p99=%s", millis(s.E2E.P50), millis(s.E2E.P99))
	}
	b.WriteByte('\n')
	if s.Interrupted {
		fmt.Fprintln(&b, "interrupted")
	}
	for _, f := range s.Faults {
		fmt.Fprintln(&b, "FAULT", f)
	}
	if s.Audit != nil {
		for _, e := range s.Audit.Examples {
			fmt.Fprintf(&b, "%s %s id=%d\n", e.Fault, strings.ReplaceAll(e.Key, "\x1f", "#"), e.ID)
		}
	}
	text := b.String()
	if len(text) <= terminationLimit {
		return text
	}
	text = text[:terminationLimit]
	return strings.ToValidUTF8(text[:strings.LastIndexByte(text, '\n')+1], "")
}
