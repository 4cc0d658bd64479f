// Package app is the program: it reads the settings, puts the parts together and decides the exit code. It owns the
// order in which things start and end; it measures, sends and audits nothing itself.
package app

import (
	"context"
	"io"
	"time"

	"orderflow.example/kit/program"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/progress"
	"orderflow.example/services/loadgen/internal/receive"
)

// The exit codes, as k6 has them where it has one.
const (
	ExitOK          = program.OK
	ExitFault       = program.Fault         // loadgen itself could not do its work
	ExitConfig      = program.Configuration // wrong settings
	ExitThresholds  = 99                    // a threshold or the audit failed
	ExitInterrupted = 130                   // by a signal
)

// leaveGrace is how long the last words may take after the second signal: an output that hangs must not hold up a person who has
// asked twice.
const leaveGrace = 2 * time.Second

// sending are the commands that send orders; the one without a name is the plain run.
var sending = []string{"", "run", "capacity"}

const help = `loadgen creates orders, measures the answers, and proves that each was processed exactly once.

  loadgen               create ORDERS orders, CONCURRENCY at a time (or at RATE, or in STAGES), then audit them
  loadgen audit         audit a run by its id alone: loadgen audit --run ID
  loadgen capacity      find the highest rate that keeps the thresholds
  loadgen receive       receive webhooks, verify and remember each, and account for them when it is ended
  loadgen config        print every environment variable, its default and meaning
  loadgen version       print the version

Flags (each is the twin of an environment variable; before or after the command):
  --api URL             API_URL         --run ID              RUN_ID
  --orders N            ORDERS          --concurrency N       CONCURRENCY
  --rate R              RATE            --duration D          DURATION
  --stages LIST         STAGES          --thresholds LIST     THRESHOLDS
  --json FILE           REPORT_JSON     -v                    LOG_LEVEL=debug
  -h                    this help

Exit codes:
  0     all is well
  1     loadgen could not do its work; the api was never ready, for instance
  2     wrong configuration
  99    a threshold, the audit or a receiver's account failed; so do dead orders, unless a threshold on dead allows them
  130   interrupted, after printing what there is
`

// New is the program loadgen.
func New(version string) *program.Program {
	terminal := new(progress.Terminal)
	command := func(name string, run func(*session) error) program.Command {
		return func(ctx context.Context, call *program.Call) error {
			cfg, err := config.Load(name, call.Lookup)
			if err != nil {
				return err
			}
			s, err := newSession(ctx, call, cfg, name, terminal)
			if err != nil {
				return err
			}
			defer s.close()
			return run(s)
		}
	}
	run := command("run", (*session).runLoad)
	return &program.Program{
		Name: "loadgen", Version: version, Help: help, Table: table, Grace: leaveGrace, Aborted: ExitInterrupted,
		Wrap: func(stderr io.Writer) io.Writer {
			terminal.Out = stderr
			return terminal
		},
		Flags: []program.Flag{
			{Name: "api", Variable: "API_URL"},
			{Name: "run", Variable: "RUN_ID"},
			{Name: "orders", Variable: "ORDERS"},
			{Name: "thresholds", Variable: "THRESHOLDS"},
			{Name: "json", Variable: "REPORT_JSON"},
			{Name: "duration", Variable: "DURATION", Commands: sending},
			{Name: "concurrency", Variable: "CONCURRENCY", Commands: sending},
			{Name: "rate", Variable: "RATE", Commands: sending},
			{Name: "stages", Variable: "STAGES", Commands: sending},
		},
		Commands: map[string]program.Command{
			"": run, "run": run, "audit": command("audit", (*session).runAudit), "capacity": command("capacity", (*session).runCapacity),
			"receive": receive.Run,
		},
	}
}

// table documents the settings of all commands.
func table() string {
	return config.Table() + "\n`loadgen receive` has settings of its own:\n\n" + receive.Table()
}

// exit is a command's result as an exit code.
func exit(code int) error {
	if code == ExitOK {
		return nil
	}
	return program.ExitError(code)
}
