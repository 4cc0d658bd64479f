// Command consumer processes orders from a PGMQ queue, each exactly once in effect.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
	"orderflow.example/services/consumer/internal/config"
)

// version is stamped by the build: -ldflags "-X main.version=…".
var version = "dev"

// Exit codes; the README lists them.
const (
	exitOK            = 0
	exitFault         = 1 // also: a second signal during the drain
	exitConfiguration = 2
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr, signals))
}

const usage = `consumer: processes orders from a PGMQ queue, each exactly once in effect.

  consumer            consume until SIGTERM or SIGINT; a second one exits at once
  consumer doctor     look at the database and say what is wrong with it (exit code 1 when something is)
  consumer config     print the environment variables as a table
  consumer version    print the version

  -v                  log every order (LOG_LEVEL=debug)
  -h                  this help

Exit codes: 0 ok, 1 fault, 2 wrong configuration.
`

// run is the program without its process: arguments and streams come in, the exit code goes out.
func run(ctx context.Context, args []string, lookup env.Lookup, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	verbose := flags.Bool("v", false, "log every order")
	command, err := parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitConfiguration
	}
	switch command {
	case "version":
		fmt.Fprintln(stdout, version)
		return exitOK
	case "config":
		fmt.Fprint(stdout, config.Table())
		return exitOK
	case "", "serve", "doctor":
	default:
		fmt.Fprintf(stderr, "unknown command %q\n\n%s", command, usage)
		return exitConfiguration
	}

	settings, err := config.Load(lookup)
	if err != nil {
		fmt.Fprintln(stderr, "consumer:", err)
		return exitConfiguration
	}
	if *verbose {
		settings.LogLevel = "debug"
	}
	log := logging.New(stderr, settings.LogLevel, settings.LogFormat)
	slog.SetDefault(log) // for libraries
	if command == "doctor" {
		return examine(ctx, settings, stdout, stderr, signals)
	}
	return consume(ctx, settings, log, signals)
}

// parse takes flags before and after the command: `consumer -v` and `consumer doctor -v`.
func parse(flags *flag.FlagSet, args []string) (command string, err error) {
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if flags.NArg() == 0 {
		return "", nil
	}
	command = flags.Arg(0)
	if err := flags.Parse(flags.Args()[1:]); err != nil {
		return "", err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(flags.Output(), err)
		return "", err
	}
	return command, nil
}
