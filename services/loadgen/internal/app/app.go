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

const help = `Orderflow's load generator: creates orders, measures the answers, and proves that each was processed exactly once.

usage: loadgen [command] [flags]

  (none)    create ORDERS orders, CONCURRENCY at a time (or at RATE, or in STAGES), then audit them (also: run)
  audit     audit a run by its id alone: loadgen audit --run ID
  capacity  find the highest rate that keeps the thresholds
  receive   receive webhooks, verify and remember each, and account for them when it is ended
  config    print the environment variables as a Markdown table
  version   print the version

  --api URL             API_URL
  --run ID              RUN_ID
  --thresholds LIST     THRESHOLDS
  --json FILE           REPORT_JSON
  --orders N            ORDERS; of audit: how many orders of each generator it expects
  --duration D          of run and capacity: DURATION
  --concurrency N       of run and capacity: CONCURRENCY
  --rate R              of run and capacity: RATE
  --stages LIST         of run and capacity: STAGES
  -v                    log at level debug (LOG_LEVEL=debug)
  -h                    this help

Exit codes: 0 ok, 1 fault (the api was never ready, for instance), 2 wrong configuration, an unknown command or flag,
99 a threshold, the audit or a receiver's account failed (dead orders too, unless a threshold on dead allows them),
130 interrupted, after printing what there is.
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
			if err := s.awaitReady(); err != nil {
				return s.fail(err)
			}
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
