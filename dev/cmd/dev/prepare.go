package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// prepared is what every stack needs first.
type prepared struct {
	server   *postgres.Server
	binaries stack.Binaries
}

// prepare finds a Postgres and builds the services (or takes those in BINARIES), both at the same time. The caller closes the server.
func prepare(ctx context.Context, env *environment, opts postgres.Options) (prepared, error) {
	root, err := stack.Root()
	if err != nil {
		return prepared{}, err
	}
	built := os.Getenv("BINARIES")
	opts.Session, opts.From, opts.Say = env.session, os.Getenv("POSTGRES_FROM"), env.say
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var p prepared
	var serverErr, buildErr error
	var both sync.WaitGroup
	both.Go(func() {
		if p.server, serverErr = postgres.Open(ctx, opts); serverErr != nil {
			cancel()
			return
		}
		env.say("PostgreSQL: %s", p.server.Source)
	})
	both.Go(func() {
		if p.binaries, buildErr = stack.Build(ctx, env.session, root, built, stack.Services...); buildErr != nil {
			cancel()
			return
		}
		if built == "" {
			env.say("built api, consumer and loadgen, version %s", stack.Version(ctx, root))
		}
	})
	both.Wait()
	// The one that failed first has cancelled the other.
	switch {
	case serverErr != nil && !errors.Is(serverErr, context.Canceled):
		return p, serverErr
	case buildErr != nil && !errors.Is(buildErr, context.Canceled):
		return p, errors.Join(buildErr, closeServer(ctx, p.server))
	case serverErr != nil || buildErr != nil:
		return p, errors.Join(context.Canceled, closeServer(ctx, p.server))
	}
	return p, nil
}

func closeServer(ctx context.Context, server *postgres.Server) error {
	if server == nil {
		return nil
	}
	return server.Close(context.WithoutCancel(ctx))
}

// number reads a variable that is a whole number.
func number(name string, fallback, least, most int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s=%q: must be a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}
