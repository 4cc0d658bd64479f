package report

import (
	"encoding/json"
	"fmt"
	"os"
)

// WriteJSON writes the summary to a file.
func (s *Summary) WriteJSON(path string) error {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(body, '\n'), 0o644); err != nil { //nolint:gosec // a report is there to be read by others
		return fmt.Errorf("write the JSON report: %w", err)
	}
	return nil
}

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
	_, err = f.Write(s.Termination())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("termination message: %w", err)
	}
	return nil
}

// Termination is the summary as one line of JSON in at most 4096 bytes: that of WriteJSON without what is long, and then without what is
// least needed until it fits. What the audit counted and the exit code are always there.
func (s *Summary) Termination() []byte {
	short := *s
	short.Settings = nil
	if s.Load != nil {
		load := *s.Load
		load.Stalls = nil
		short.Load = &load
	}
	if s.Audit != nil {
		account := *s.Audit
		short.Audit = &account
	}
	for _, shorten := range []func(){
		func() {},
		func() { short.shortenExamples(5) },
		func() { short.shortenExamples(0) },
		func() { short.Capacity, short.Thresholds = nil, nil },
		func() { short.Faults, short.Warnings = first(short.Faults, 5), nil },
		func() { short.Load, short.E2E = nil, nil },
		func() { short.Faults, short.API = nil, "" },
	} {
		shorten()
		if body, err := json.Marshal(short); err == nil && len(body) < terminationLimit {
			return append(body, '\n')
		}
	}
	return nil
}

func (s *Summary) shortenExamples(most int) {
	if s.Audit != nil {
		s.Audit.Examples = first(s.Audit.Examples, most)
		s.Audit.Notes = first(s.Audit.Notes, most)
	}
	if s.Receiver != nil {
		received := *s.Receiver
		received.Examples = first(received.Examples, most)
		s.Receiver = &received
	}
	if s.Load != nil {
		s.Load.Totals.WrongExamples, s.Load.Totals.BrokenExamples = first(s.Load.Totals.WrongExamples, most), first(s.Load.Totals.BrokenExamples, most)
	}
}

func first[T any](list []T, most int) []T { return list[:min(len(list), most)] }
