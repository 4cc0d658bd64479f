package stack

import (
	"os"
	"path/filepath"
	"testing"
)

// A report without an account is none.
func TestReportIsRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"whole":       {`{"exit_code": 99, "faults": ["1 order lost"], "audit": {"accepted": 7, "completed": 6, "lost": 1}}`, true},
		"no audit":    {`{"exit_code": 1, "faults": ["the api did not answer"]}`, false},
		"cut short":   {`{"exit_code": 0, "audit": {"acc`, false},
		"nothing yet": {``, false},
	} {
		path := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := (&Load{report: path}).Report()
		var a Audit
		if err == nil {
			a, err = r.Account()
		}
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if test.ok && (r.ExitCode != 99 || a != Audit{Accepted: 7, Completed: 6, Lost: 1} || len(r.Faults) != 1) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, err := (&Load{report: filepath.Join(t.TempDir(), "none.json")}).Report(); err == nil {
		t.Error("no report: no error")
	}
}
