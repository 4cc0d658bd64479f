package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/bench"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// searchLimit is what every listing and search has to stay below.
const searchLimit = 50 * time.Millisecond

// grownSettings are what the chart gives a server with 4 GiB of memory, which a database of this size is at home on; and the statements' statistics.
var grownSettings = []string{
	"shared_buffers=1GB", "effective_cache_size=2560MB", "maintenance_work_mem=256MB", "checkpoint_timeout=10min", "max_wal_size=4GB", "random_page_cost=1.1", "jit=off",
	"autovacuum_naptime=10s", "autovacuum_vacuum_cost_limit=2000", "shared_preload_libraries=pg_stat_statements",
}

// runGrowth compares a database with ORDERS (10,000,000) orders, MESSAGES (5,000,000) of which have gone through its queue, with a new one:
// in ROUNDS (3) of DURATION (5s) each. REQUESTS (200) is how often each listing is called, HELD (5m, 0s: not at all) how long a snapshot is held.
// WRITE is a Markdown file for the figures.
func runGrowth(ctx context.Context, env *environment, _ []string) (code int, err error) {
	var orders, messages, rounds, requests int
	var span, held time.Duration
	for _, read := range []func() error{
		func() (err error) { orders, err = number("ORDERS", 10_000_000, 1000, 1_000_000_000); return err },
		func() (err error) { messages, err = number("MESSAGES", orders/2, 0, orders); return err },
		func() (err error) { rounds, err = number("ROUNDS", 3, 1, 100); return err },
		func() (err error) { requests, err = number("REQUESTS", 200, 10, 100_000); return err },
		func() (err error) { span, err = duration("DURATION", 5*time.Second, time.Second); return err },
		func() (err error) { held, err = duration("HELD", 5*time.Minute, 0); return err },
	} {
		if err := read(); err != nil {
			return exitUsage, err
		}
	}
	p, err := prepare(ctx, env, postgres.Options{MaxConnections: 200, Settings: grownSettings})
	if err != nil {
		return exitFault, err
	}
	defer func() { err = errors.Join(err, closeServer(ctx, p.server)) }()
	if err := compressLog(ctx, p.server.URL()); err != nil {
		return exitFault, err
	}
	if err := stack.Migrate(ctx, env.session, p.binaries, p.server.URL()); err != nil {
		return exitFault, err
	}
	fresh, err := stack.CreateDatabase(ctx, p.server.URL(), "fresh", "")
	if err != nil {
		return exitFault, err
	}
	if err := stack.Migrate(ctx, env.session, p.binaries, fresh); err != nil {
		return exitFault, err
	}
	g := &bench.Growth{
		Bench:    bench.Bench{Session: env.session, Binaries: p.binaries, DatabaseURL: p.server.URL(), Span: span, Rounds: rounds, Say: env.say},
		FreshURL: fresh, Orders: orders, Messages: messages, Held: held, Requests: requests,
	}
	version, err := serverVersion(ctx, p.server.URL())
	if err != nil {
		return exitFault, err
	}
	found, failed := g.Run(ctx)
	var text strings.Builder
	fmt.Fprintf(&text, "%s, PostgreSQL %s, %d processors, %s; %v a measurement, rounds: %d.\n", time.Now().UTC().Format(time.DateOnly), version, runtime.NumCPU(), runtime.Version(), span, rounds)
	found.Write(&text, searchLimit)
	fmt.Fprint(env.stdout, text.String())
	if file := os.Getenv("WRITE"); file != "" {
		if err := replaceSection(file, "growth", text.String()); err != nil {
			return exitFault, err
		}
	}
	if failed != nil {
		return exitFault, failed
	}
	return 0, nil
}

// compressLog has the server compress images of pages in its log with lz4, as the chart's does, if it was built with that.
func compressLog(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("switch the log's compression on: %w", err)
	}
	var known bool
	err = conn.QueryRow(ctx, "select 'lz4' = any (enumvals) from pg_settings where name = 'wal_compression'").Scan(&known)
	if known && err == nil {
		if _, err = conn.Exec(ctx, "alter system set wal_compression = 'lz4'"); err == nil {
			_, err = conn.Exec(ctx, "select pg_reload_conf()")
		}
	}
	if err != nil {
		err = fmt.Errorf("switch the log's compression on: %w", err)
	}
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}
