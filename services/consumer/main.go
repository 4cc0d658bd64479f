// Command consumer processes orders from a PGMQ queue, each exactly once in effect.
package main

import (
	"context"

	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/kit/program"
	"orderflow.example/services/consumer/internal/config"
)

// version is stamped by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() { consumer.Main() }

const help = `consumer: processes orders from a PGMQ queue, each exactly once in effect.

  consumer [serve]    consume until SIGTERM or SIGINT; a second one exits at once
  consumer doctor     look at the database and say what is wrong with it (exit code 1 when something is)
  consumer pause      stop the queue: no consumer begins with another order, until resume
  consumer resume     end a pause
  consumer status     say whether the queue is worked on: running, paused, the breaker is open, a limit
  consumer config     print the environment variables as a table
  consumer version    print the version

  -v                  log every order (LOG_LEVEL=debug)
  -h                  this help

Exit codes: 0 ok, 1 fault, 2 wrong configuration.
`

var consumer = &program.Program{
	Name: "consumer", Version: version, Help: help, Table: config.Table,
	Commands: map[string]program.Command{"": configured(consume), "serve": configured(consume), "doctor": configured(examine),
		"pause": configured(pause), "resume": configured(resume), "status": configured(status)},
}

// configured reads the settings for a command.
func configured(command func(context.Context, *config.Config, *program.Call) error) program.Command {
	return func(ctx context.Context, call *program.Call) error {
		settings, err := config.Load(call.Lookup)
		if err != nil {
			return err
		}
		return command(ctx, settings, call)
	}
}
