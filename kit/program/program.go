package program

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
)

// Exit codes that every program has; it may have others (see [ExitError]).
const (
	OK            = 0
	Fault         = 1 // also: a second signal
	Configuration = 2 // wrong settings, flags or command
)

// Program is one program and its commands.
type Program struct {
	Name     string
	Version  string
	Help     string        // what -h prints
	Table    func() string // what the command config prints: the settings as a Markdown table
	Flags    []Flag        // besides [Verbose]
	Commands map[string]Command
	// Wrap, when there is one, makes of standard error what logs are written to.
	Wrap func(stderr io.Writer) io.Writer
	// Grace is how long the program may go on after a second signal, for its last words; Aborted is the exit code of one that was not
	// done by then. Usually they are zero: it ends at once, as a fault.
	Grace   time.Duration
	Aborted int
}

// Command does what was asked for until it is done or ctx ends, as it does with the first signal. An error that is neither of the
// configuration ([env.ErrConfiguration]) nor an [ExitError] is a fault.
type Command func(ctx context.Context, call *Call) error

// lastLines is how long the end of a program waits for its log to be taken.
const lastLines = time.Second

// Call is one invocation of a command.
type Call struct {
	Command string
	Version string
	Lookup  env.Lookup // the environment, with what flags override
	Stdout  io.Writer  // results
	Stderr  io.Writer  // logs
	Log     *slog.Logger
	// Twice ends with the second signal: whoever asks twice does not want to wait.
	Twice context.Context //nolint:containedctx // a second one beside the command's own
}

// ExitError is an exit code of the program's own. Whoever returns it has said why.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs the program as the process that it is in, and ends it.
func (p *Program) Main() {
	// Without this, the first line that cannot be written to standard output or error would end the process: a log
	// collector that has gone must not stop the work.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(p.Run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr, signals))
}

// Run is the program without its process: everything that it takes from there is handed in, and the exit code comes out. After a
// second signal it returns although the command may not have ended.
func (p *Program) Run(ctx context.Context, args []string, lookup env.Lookup, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	name, overrides, err := parse(args, append([]Flag{Verbose}, p.Flags...))
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && name == "help":
		fmt.Fprint(stdout, p.Help)
		return OK
	case err != nil:
		return p.refuse(stderr, err.Error())
	case name == "version":
		fmt.Fprintln(stdout, p.Version)
		return OK
	case name == "config":
		fmt.Fprint(stdout, p.Table())
		return OK
	}
	if p.Wrap != nil {
		stderr = p.Wrap(stderr)
	}
	command, known := p.Commands[name]
	if !known {
		return p.refuse(stderr, fmt.Sprintf("unknown command %q", name))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	twice, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	logs := logging.NewBuffer(stderr, func(lines int) {
		newLogger(lookup, stderr).Warn("log lines dropped: standard error is not read fast enough", "lines", lines)
	})
	defer logs.Close(lastLines)
	stderr = logs
	call := &Call{Command: name, Version: p.Version, Lookup: override(lookup, overrides), Stdout: stdout, Stderr: stderr, Twice: twice}
	call.Log = newLogger(call.Lookup, stderr)
	ended := make(chan error, 1)
	go func() { ended <- command(ctx, call) }() // Run waits for it, unless a person does not want to
	var expired <-chan time.Time
	for count := 0; ; {
		select {
		case err := <-ended:
			return p.code(call, err)
		case <-expired:
			return cmp.Or(p.Aborted, Fault)
		case sig := <-signals:
			if count++; count == 1 {
				call.Log.Info("signal received", "signal", sig.String())
				stop()
				continue
			}
			call.Log.Warn("another signal received: exiting at once", "signal", sig.String())
			abort()
			if expired == nil {
				expired = time.After(p.Grace)
			}
		}
	}
}

func (p *Program) refuse(stderr io.Writer, why string) int {
	fmt.Fprintf(stderr, "%s: %s (%s -h lists commands and flags)\n", p.Name, why, p.Name)
	return Configuration
}

// code turns a command's error into the exit code, and says what nobody has said yet.
func (p *Program) code(call *Call, err error) int {
	var own ExitError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &own):
		return int(own)
	case errors.Is(err, env.ErrConfiguration): // the log's own settings may be wrong
		fmt.Fprintf(call.Stderr, "%s: %v\n", p.Name, err)
		return Configuration
	}
	call.Log.Error("stopped by an error", "error", err)
	return Fault
}

// newLogger makes the log before the settings are read: there is something to log when they are wrong.
func newLogger(lookup env.Lookup, stderr io.Writer) *slog.Logger {
	level, _ := lookup("LOG_LEVEL")
	format, _ := lookup("LOG_FORMAT")
	return logging.New(stderr, level, cmp.Or(format, "auto"))
}
