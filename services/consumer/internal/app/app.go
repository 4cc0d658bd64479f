// Package app owns the program: its commands, and how its parts are wired. It is the same for the shipped consumer, whose handler the
// settings name, and for programs with a handler of their own.
package app

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/kit/env"
	"orderflow.example/kit/program"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/handler"
)

// App is a consumer as a program.
type App struct {
	Version string
	Handler handler.Handler     // the program's own; nil: one of the built-in ones, as HANDLER says
	Metrics prometheus.Gatherer // the handler's; nil: none
}

// ownHandler is what stands in HANDLER's place in a program with a handler of its own.
const ownHandler = "own"

const help = `Orderflow's consumer: processes orders from a PGMQ queue, each exactly once in effect.

usage: consumer [command] [flags]

  (none)    consume until SIGTERM or SIGINT; a second one exits at once (also: serve)
  doctor    look at the database and say what is wrong with it (exit code 1 when something is)
  pause     stop the queue: no consumer begins with another order, until resume
  resume    end a pause
  status    say whether the queue is worked on: running, paused, breaker open or rate-limited
  config    print the environment variables as a Markdown table
  version   print the version

  -v        log every order (LOG_LEVEL=debug)
  -h        this help

Exit codes: 0 ok, 1 fault, 2 wrong configuration, an unknown command or flag.
`

// Program returns its commands.
func (a *App) Program() *program.Program {
	return &program.Program{
		Name: "consumer", Version: a.Version, Help: help, Table: config.Table,
		Commands: map[string]program.Command{
			"": a.configured(a.consume), "serve": a.configured(a.consume), "doctor": a.configured(examine),
			"pause": a.configured(pause), "resume": a.configured(resume), "status": a.configured(status),
		},
	}
}

// Load reads the settings. A handler of the program's own is used whatever HANDLER and the built-in handlers' settings say.
func (a *App) Load(lookup env.Lookup) (*config.Config, error) {
	if a.Handler == nil {
		return config.Load(lookup)
	}
	settings, err := config.Load(func(name string) (string, bool) {
		if name == "HANDLER" || name == "EFFECT_FUNCTION" || strings.HasPrefix(name, "WEBHOOK_") || strings.HasPrefix(name, "SIMULATE_") {
			return "", false
		}
		return lookup(name)
	})
	if err == nil {
		settings.Handler = ownHandler
	}
	return settings, err
}

// configured reads the settings for a command.
func (a *App) configured(command func(context.Context, *config.Config, *program.Call) error) program.Command {
	return func(ctx context.Context, call *program.Call) error {
		settings, err := a.Load(call.Lookup)
		if err != nil {
			return err
		}
		return command(ctx, settings, call)
	}
}
