package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"orderflow.example/dev/internal/bench"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// runBench measures on a private Postgres with default durability: DURATION (8s) for each measurement, CLIENTS (64).
func runBench(ctx context.Context, env *environment, _ []string) (code int, err error) {
	clients, err := number("CLIENTS", 64, 1, 1000)
	if err != nil {
		return exitUsage, err
	}
	span := 8 * time.Second
	if text := os.Getenv("DURATION"); text != "" {
		if span, err = time.ParseDuration(text); err != nil || span < time.Second {
			return exitUsage, fmt.Errorf("DURATION=%q: must be a duration from 1s on", text)
		}
	}
	p, err := prepare(ctx, env, postgres.Options{MaxConnections: clients + 50})
	if err != nil {
		return exitFault, err
	}
	defer func() { err = errors.Join(err, closeServer(ctx, p.server)) }()
	if err := stack.Migrate(ctx, env.session, p.binaries, p.server.URL()); err != nil {
		return exitFault, err
	}
	b := &bench.Bench{
		Session: env.session, Binaries: p.binaries, DatabaseURL: p.server.URL(), Span: span, Clients: clients, Say: env.say,
	}
	rows, err := b.Run(ctx)
	if err != nil {
		return exitFault, err
	}
	fmt.Fprintf(env.stdout, "%s, %d processors, %v each, everything on this machine; fsync and synchronous_commit on\n",
		p.server.Source, runtime.NumCPU(), span)
	bench.Table(env.stdout, rows)
	return 0, nil
}
