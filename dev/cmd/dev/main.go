// Command dev runs Orderflow on this machine: a demo, a stack to work on, Postgres for the tests, the chaos suite and the benchmarks.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"orderflow.example/dev/internal/session"
)

const usage = `dev runs Orderflow on this machine, on the first Postgres that works: DATABASE_URL, local binaries, Docker, a download,
the distribution's package. It leaves nothing behind.

  dev demo                  api, consumers and loadgen side by side: 100 orders and their audit
                            (CONSUMERS=1 ORDERS=100 ..., every variable of the services; NAME for one service alone: CONSUMER__NAME)
  dev up                    keep api and consumers running until Ctrl-C
  dev with-postgres CMD...  run CMD with TEST_DATABASE_URL and TEST_TEMPLATE, a server and a migrated template database for tests
  dev chaos                 faults against the running system, each ended by an audit (FAULTS= HANDLER= RATE= SEED= DURATION= ROUNDS=)
  dev growth                a database of years beside a new one: throughput, searches, a held snapshot (ORDERS= MESSAGES= ROUNDS= HELD=)
  dev soak                  a long run with faults and retention, that ends with the audit and what has grown (DURATION= RATE= CYCLE= SEED= OUT=)
  dev mutants               break the program in small ways and see whether the tests notice; by with-postgres (MUTANTS=quick or words)
  dev bench                 measure the system against what Postgres itself does

Also: POSTGRES_FROM=auto|local|docker|download|package, POSTGRES_IMAGE=, POSTGRES_DOWNLOAD_URL=, BINARIES=DIR (services built already).
`

// Exit codes beside those of the programs that are run.
const (
	exitFault       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// command is one of dev's verbs. It returns the exit code; an error is printed and means exitFault.
type command func(ctx context.Context, env *environment, args []string) (int, error)

// environment is what every command gets.
type environment struct {
	session        *session.Session
	stdout, stderr io.Writer
}

func (e *environment) say(format string, args ...any) { fmt.Fprintf(e.stderr, format+"\n", args...) }

var commands = map[string]command{
	"bench":         runBench,
	"chaos":         runChaos,
	"demo":          demo,
	"growth":        runGrowth,
	"mutants":       runMutants,
	"soak":          runSoak,
	"up":            up,
	"with-postgres": withPostgres,
}

func run(args []string, stdout, stderr io.Writer) (code int) {
	help := func(i int) bool {
		return len(args) > i && (args[i] == "-h" || args[i] == "--help" || args[i] == "help")
	}
	if len(args) == 0 || help(0) || help(1) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	do, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "dev: unknown command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	s, err := session.Open()
	if err != nil {
		fmt.Fprintln(stderr, "dev:", err)
		return exitFault
	}
	ctx, stop := interruptible(s, stderr)
	defer stop()
	defer func() {
		if err := s.Close(); err != nil {
			fmt.Fprintln(stderr, "dev:", err)
			code = max(code, exitFault)
		}
	}()
	code, err = do(ctx, &environment{session: s, stdout: stdout, stderr: stderr}, args[1:])
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted)):
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "dev:", err)
		return max(code, exitFault)
	}
	return code
}

var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends with the first signal, for an orderly stop. The second signal ends at once whatever is
// still running, and us.
func interruptible(s *session.Session, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-done:
			return
		}
		// One Ctrl-C can come twice: from the terminal, and passed on by the program that has started us.
		settled := time.After(500 * time.Millisecond)
		for {
			select {
			case <-signals:
				select {
				case <-settled:
				default:
					continue
				}
				fmt.Fprintln(stderr, "dev: ending everything at once")
				_ = s.Close() // there is nobody left to tell
				os.Exit(exitInterrupted)
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-finished
		cancel(nil)
	}
}
