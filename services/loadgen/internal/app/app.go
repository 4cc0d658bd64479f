// Package app is the program: it reads the settings, puts the parts together and decides the exit code. It owns the signals and the
// order in which things start and end; it measures, sends and audits nothing itself.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"orderflow.example/services/loadgen/internal/config"
)

// The exit codes, as k6 has them where it has one.
const (
	ExitOK          = 0
	ExitFault       = 1   // loadgen itself could not do its work
	ExitConfig      = 2   // wrong configuration
	ExitThresholds  = 99  // a threshold or the audit failed
	ExitInterrupted = 130 // by a signal
)

// Program is one invocation.
type Program struct {
	Args    []string
	Stdout  io.Writer // results
	Stderr  io.Writer // logs, progress, the live screen
	Version string
	Signals <-chan os.Signal // nil = none are listened to
	Exit    func(code int)   // ends the process at once, on a second signal
}

// Run carries the command out and returns the exit code.
func (p *Program) Run(ctx context.Context) int {
	command, args := "run", p.Args
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "run", "audit", "capacity":
	case "config":
		fmt.Fprint(p.Stdout, config.Markdown())
		return ExitOK
	case "version":
		fmt.Fprintln(p.Stdout, p.Version)
		return ExitOK
	case "help":
		fmt.Fprint(p.Stdout, config.Help)
		return ExitOK
	default:
		fmt.Fprintf(p.Stderr, "wrong configuration: there is no command %q (see loadgen -h)\n", command)
		return ExitConfig
	}
	cfg, err := config.Load(command, args, p.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return ExitOK
	}
	if err != nil {
		fmt.Fprintln(p.Stderr, err)
		return ExitConfig
	}
	s, err := p.newSession(ctx, cfg, command)
	if err != nil {
		fmt.Fprintln(p.Stderr, "loadgen:", err)
		return ExitFault
	}
	defer s.close()
	switch command {
	case "audit":
		return s.runAudit()
	case "capacity":
		return s.runCapacity()
	}
	return s.runLoad()
}
