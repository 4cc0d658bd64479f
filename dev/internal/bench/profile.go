package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// Profile leaves profiles of the api under 64 connections, and of a consumer at its best, in a folder: CPU, allocations, contended locks
// and blocking, to be read by `go tool pprof`; and what Postgres has spent its time on, where the server has pg_stat_statements.
func (b *Bench) Profile(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // profiles are no secret
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.execute(ctx, "create extension if not exists pg_stat_statements"); err != nil {
		b.Say("profile: without Postgres's statements: %v", err)
	}
	err := b.profiled(ctx, dir, "publish", func(s *stack.Stack) (*stack.Node, error) { return s.StartAPI(ctx, "api", "PPROF=true") },
		func(api *stack.Node) error {
			_, err := b.post(ctx, api.URL(), 64, 1)
			return err
		})
	if err != nil {
		return err
	}
	if err := b.clear(ctx); err != nil {
		return err
	}
	if err := b.fill(ctx, 2*preloaded, 0); err != nil {
		return err
	}
	settings := append([]string{"PPROF=true"}, atItsBest...)
	return b.profiled(ctx, dir, "consume", func(s *stack.Stack) (*stack.Node, error) { return s.StartConsumer(ctx, "consumer", settings...) },
		func(*stack.Node) error { return b.drained(ctx) })
}

// profiled runs work beside the collection of a service's profiles.
func (b *Bench) profiled(ctx context.Context, dir, name string, start func(*stack.Stack) (*stack.Node, error), work func(*stack.Node) error) error {
	if err := b.resetStatements(ctx); err != nil {
		return err
	}
	s := b.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the profiles stand
	node, err := start(s)
	if err != nil {
		return err
	}
	var cpuErr error
	var cpu sync.WaitGroup
	cpu.Go(func() {
		cpuErr = fetchProfile(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", node.MetricsURL(), max(1, int(b.Span.Seconds())-1)), filepath.Join(dir, name+"-cpu.pprof"))
	})
	err = work(node)
	cpu.Wait()
	if err := errors.Join(err, cpuErr); err != nil {
		return err
	}
	for _, kind := range []string{"allocs", "mutex", "block"} {
		if err := fetchProfile(ctx, node.MetricsURL()+"/debug/pprof/"+kind, filepath.Join(dir, name+"-"+kind+".pprof")); err != nil {
			return err
		}
	}
	if err := b.writeStatements(ctx, filepath.Join(dir, name+"-postgres.txt")); err != nil {
		return err
	}
	b.Say("profile: %s: go tool pprof -http : %s", name, filepath.Join(dir, name+"-cpu.pprof"))
	return nil
}

func fetchProfile(ctx context.Context, url, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", url, answer.Status, body)
	}
	return os.WriteFile(file, body, 0o644) //nolint:gosec // profiles are no secret
}

// hasStatements tells whether the server keeps statistics of statements.
const hasStatements = "select exists (select from pg_extension where extname = 'pg_stat_statements')"

func (b *Bench) resetStatements(ctx context.Context) error {
	return b.with(ctx, func(conn *pgx.Conn) error {
		var has bool
		if err := conn.QueryRow(ctx, hasStatements).Scan(&has); err != nil || !has {
			return err
		}
		_, err := conn.Exec(ctx, "select pg_stat_statements_reset()")
		return err
	})
}

// writeStatements writes which statements have taken how long, the longest first.
func (b *Bench) writeStatements(ctx context.Context, file string) error {
	return b.with(ctx, func(conn *pgx.Conn) error {
		var has bool
		if err := conn.QueryRow(ctx, hasStatements).Scan(&has); err != nil || !has {
			return err
		}
		rows, err := conn.Query(ctx, `
			select format('%8s ms in %7s calls, %9s rows, %7s KiB of WAL: %s', round(total_exec_time), calls, rows, round(wal_bytes / 1024),
			              left(regexp_replace(query, '\s+', ' ', 'g'), 400))
			from pg_stat_statements order by total_exec_time desc limit 20`)
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		var text []byte
		for _, line := range lines {
			text = append(append(text, line...), '\n')
		}
		return os.WriteFile(file, text, 0o644) //nolint:gosec // profiles are no secret
	})
}
