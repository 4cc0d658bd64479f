// Command api is Orderflow's HTTP service: it takes orders and owns the database's schema.
package main

import (
	"context"
	"log/slog"

	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/kit/program"
	"orderflow.example/services/api/internal/config"
)

// version is stamped by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() { api.Main() }

const help = `Orderflow's API: takes orders over HTTP and writes each with its message in one transaction.

usage: api [command] [flags]

  (none)    serve until SIGTERM or SIGINT; a second one exits at once
  migrate   bring the database's schema up to date, then exit
  requeue   list the orders that are pending without a message
              -apply                give them new messages
              -note TEXT            why, for the history of the orders
              -older-than DURATION  only orders that are older than this (5m)
  retention count what ORDER_RETENTION and DEAD_LETTER_RETENTION would delete now
  config    print the environment variables as a Markdown table
  version   print the version

  -v        log at level debug, whatever LOG_LEVEL says
  -h        this help

Exit codes: 0 ok, 1 fault, 2 wrong configuration, an unknown command or flag.
`

var api = &program.Program{
	Name: "api", Version: version, Help: help, Table: config.Table,
	Commands: map[string]program.Command{
		"": configured(serve), "migrate": configured(migrate), "requeue": printing(requeue), "retention": printing(retention),
	},
	Flags: []program.Flag{
		{Name: "apply", Variable: "APPLY", Value: "true", Commands: []string{"requeue"}},
		{Name: "note", Variable: "NOTE", Commands: []string{"requeue"}},
		{Name: "older-than", Variable: "OLDER_THAN", Commands: []string{"requeue"}},
	},
}

// configured reads the settings for a command and says what they are.
func configured(command func(context.Context, *config.Config, *slog.Logger) error) program.Command {
	return func(ctx context.Context, call *program.Call) error {
		cfg, err := config.Load(call.Lookup)
		if err != nil {
			return err
		}
		call.Log.InfoContext(ctx, "starting", "service", "api", "version", version, "config", cfg)
		cfg.DatabaseURL.Note(call.Log)
		return command(ctx, cfg, call.Log)
	}
}

// printing reads the settings for a command whose result is for a person, or for a pipe.
func printing(command func(context.Context, *config.Config, *program.Call) error) program.Command {
	return func(ctx context.Context, call *program.Call) error {
		cfg, err := config.Load(call.Lookup)
		if err != nil {
			return err
		}
		return command(ctx, cfg, call)
	}
}
