package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"orderflow.example/dev/internal/proc"
)

// Load is a run of the load generator. It ends by itself.
type Load struct {
	*proc.Process
	report string // the file of its report
}

// Loadgen starts the load generator against an api.
func (s *Stack) Loadgen(api *Node, args []string, env ...string) (*Load, error) {
	env = append([]string{"API_URL=" + api.URL(), "METRICS_PORT=-1"}, env...)
	if lookup(s.environ(Loadgen, env...), "API_TOKEN") == "" {
		env = append(env, "API_TOKEN="+api.Token())
	}
	report := lookup(s.environ(Loadgen, env...), "REPORT_JSON") // a person may want to keep it
	if report == "" {
		dir, err := s.opts.Session.Mkdir("report")
		if err != nil {
			return nil, err
		}
		report = filepath.Join(dir, "loadgen.json")
		env = append(env, "REPORT_JSON="+report)
	}
	p, err := proc.Start(s.opts.Session, proc.Spec{
		Name: string(Loadgen), Path: s.opts.Binaries[Loadgen], Args: args,
		Env: s.environ(Loadgen, env...), Lines: s.opts.Lines,
	})
	if err != nil {
		return nil, err
	}
	return &Load{Process: p, report: report}, nil
}

// Interrupt ends a run early: it prints and reports what it has, and ends.
func (l *Load) Interrupt(ctx context.Context) error {
	if !l.Running() {
		return nil
	}
	return l.Stop(ctx, syscall.SIGINT, stopGrace)
}

// Report is what the load generator says of its own orders.
type Report struct {
	ExitCode int      `json:"exit_code"`
	Faults   []string `json:"faults"` // why the exit code is not 0, in words
	Audit    *Audit   `json:"audit"`  // nil when nothing was accounted for
}

// Audit are the figures of the load generator's account: every accepted order is one of the others, once.
type Audit struct {
	Accepted   int64 `json:"accepted"`
	Completed  int64 `json:"completed"`
	Dead       int64 `json:"dead"`
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
}

func (a Audit) String() string {
	return fmt.Sprintf("accepted=%d completed=%d dead=%d lost=%d duplicated=%d", a.Accepted, a.Completed, a.Dead, a.Lost, a.Duplicated)
}

// Report reads the report of a run that has ended.
func (l *Load) Report() (Report, error) {
	var r Report
	text, err := os.ReadFile(l.report)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("loadgen's report: %w", err)
	}
	return r, nil
}

// Account is the audit of a run that has ended. A run without one is an error.
func (r Report) Account() (Audit, error) {
	if r.Audit == nil {
		return Audit{}, fmt.Errorf("loadgen's report has no audit (exit code %d, %s)", r.ExitCode, strings.Join(r.Faults, "; "))
	}
	return *r.Audit, nil
}
