package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/bench"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
)

// runBench measures on a private Postgres with default durability: DURATION (5s) for each measurement, in ROUNDS (3), the groups that
// ONLY names, separated by commas, or all of them. With WRITE, the name of a Markdown file, it puts the tables there. With PROFILES, the
// name of a folder, it measures nothing and leaves profiles there.
func runBench(ctx context.Context, env *environment, _ []string) (code int, err error) {
	rounds, err := number("ROUNDS", 3, 1, 100)
	if err != nil {
		return exitUsage, err
	}
	span := 5 * time.Second
	if text := os.Getenv("DURATION"); text != "" {
		if span, err = time.ParseDuration(text); err != nil || span < time.Second {
			return exitUsage, fmt.Errorf("DURATION=%q: must be a duration from 1s on", text)
		}
	}
	const mostConnections = 256 // of the largest group
	opts := postgres.Options{MaxConnections: mostConnections + 50}
	profiles := os.Getenv("PROFILES")
	if profiles != "" {
		opts.Settings = []string{"shared_preload_libraries=pg_stat_statements"}
	}
	p, err := prepare(ctx, env, opts)
	if err != nil {
		return exitFault, err
	}
	defer func() { err = errors.Join(err, closeServer(ctx, p.server)) }()
	if err := stack.Migrate(ctx, env.session, p.binaries, p.server.URL()); err != nil {
		return exitFault, err
	}
	b := &bench.Bench{
		Session: env.session, Binaries: p.binaries, DatabaseURL: p.server.URL(), Span: span, Rounds: rounds, Say: env.say, River: os.Getenv("RIVER"),
	}
	if profiles != "" {
		if err := b.Profile(ctx, profiles); err != nil {
			return exitFault, err
		}
		return 0, nil
	}
	if b.River != "" {
		if _, err := stack.CreateDatabase(ctx, p.server.URL(), bench.RiverDatabase, "template1"); err != nil {
			return exitFault, err
		}
	}
	results, err := b.Run(ctx, strings.FieldsFunc(os.Getenv("ONLY"), func(r rune) bool { return r == ',' || r == ' ' }))
	if err != nil {
		return exitFault, err
	}

	version, err := serverVersion(ctx, p.server.URL())
	if err != nil {
		return exitFault, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s, PostgreSQL %s, %d processors, %s; %v a measurement, rounds: %d; load, services and Postgres on this machine; defaults, `fsync` and\n`synchronous_commit` on.\n\n",
		time.Now().UTC().Format(time.DateOnly), version, runtime.NumCPU(), runtime.Version(), span, rounds)
	bench.Write(&text, results)
	if _, err := env.stdout.Write(text.Bytes()); err != nil {
		return exitFault, err
	}
	if file := os.Getenv("WRITE"); file != "" {
		if err := replaceSection(file, "bench", text.String()); err != nil {
			return exitFault, err
		}
		env.say("written to %s", file)
	}
	return 0, nil
}

// replaceSection puts a text between two comments of a Markdown file, <!-- name:begin --> and <!-- name:end -->.
func replaceSection(file, name, text string) error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- %s:begin -->\n", name), fmt.Sprintf("<!-- %s:end -->\n", name)
	before, rest, ok1 := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no section between %s and %s", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644) //nolint:gosec // a page that everybody may read
}

// serverVersion is a server's, without its packager's name. It stands in documents, where the server's place on this machine does not belong.
func serverVersion(ctx context.Context, url string) (version string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("ask for the server's version: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := conn.QueryRow(ctx, "select split_part(current_setting('server_version'), ' ', 1)").Scan(&version); err != nil {
		return "", fmt.Errorf("ask for the server's version: %w", err)
	}
	return version, nil
}
