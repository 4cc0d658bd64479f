package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"orderflow.example/kit/logging"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/schema"
)

// Exit codes.
const (
	exitOK     = 0
	exitFault  = 1
	exitConfig = 2
)

const usage = `Orderflow's API: takes orders over HTTP and writes each with its message in one transaction.

usage: api [-v] [command]

  (none)    serve until SIGTERM
  migrate   bring the database's schema up to date, then exit
  config    print the environment variables as a Markdown table
  version   print the version

  -v        log at level debug, whatever LOG_LEVEL says
`

// run is the program: what main does, with everything that it takes from the process handed in. It returns the exit
// code.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("api", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	verbose := flags.Bool("v", false, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return exitOK
	} else if err != nil || flags.NArg() > 1 {
		fmt.Fprint(stderr, usage)
		return exitConfig
	}

	command := flags.Arg(0)
	switch command {
	case "", "migrate":
	case "version":
		fmt.Fprintln(stdout, version)
		return exitOK
	case "config":
		fmt.Fprint(stdout, config.Table())
		return exitOK
	default:
		fmt.Fprintf(stderr, "api: there is no command %q\n\n%s", command, usage)
		return exitConfig
	}

	cfg, err := config.Load(env)
	if err != nil {
		fmt.Fprintf(stderr, "api: %v\n", err)
		return exitConfig
	}
	if *verbose {
		cfg.LogLevel = "debug"
	}
	log := logging.New(stderr, cfg.LogLevel, cfg.LogFormat)
	log.InfoContext(ctx, "starting", "service", "api", "version", version, "config", cfg)

	if command == "migrate" {
		err = migrate(ctx, cfg, log)
	} else {
		err = serve(ctx, cfg, log)
	}
	if err != nil {
		log.ErrorContext(ctx, "stopped by an error", "error", err)
		return exitFault
	}
	return exitOK
}

func options(cfg *config.Config) schema.Options {
	return schema.Options{
		Queue: cfg.QueueName,
		PGMQ:  schema.Install(cfg.PGMQInstall),
		Roles: cfg.Roles(),
	}
}
