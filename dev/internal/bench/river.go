package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
)

// River beside it, where its program was built (make bench/river).

func (b *Bench) riverInserts(connections int) []contender {
	return b.river("River, an order and its job, InsertTx, "+onConnections(connections), "insert", "-connections", strconv.Itoa(connections), "-span", b.Span.String())
}

func (b *Bench) riverBatches() []contender {
	return append(
		b.river("River, 1,000 orders and their jobs, COPY and InsertManyFastTx, 4 connections", "batch", "-connections", "4", "-span", b.Span.String()),
		b.river("River, jobs alone, InsertManyFast of 1,000, 4 connections", "jobs", "-connections", "4", "-span", b.Span.String())...)
}

func (b *Bench) riverWork() []contender {
	const jobs = "50000"
	return append(
		b.river("River, jobs that do nothing", "noop", "-jobs", jobs),
		b.river("River, an order completed in each job", "orders", "-jobs", jobs)...)
}

func (b *Bench) river(name string, args ...string) []contender {
	if b.River == "" {
		return nil
	}
	return []contender{{name: name, measure: func(ctx context.Context) (figures, error) {
		database, err := postgres.WithDatabase(b.DatabaseURL, RiverDatabase)
		if err != nil {
			return figures{}, err
		}
		var out, problems bytes.Buffer
		cmd := exec.CommandContext(ctx, b.River, args...)
		cmd.Env = proc.Environ("DATABASE_URL=" + database)
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); err != nil {
			return figures{}, fmt.Errorf("%w: %s", err, problems.String())
		}
		var got struct{ Rate, P50, P99 float64 }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			return figures{}, fmt.Errorf("its figures: %w", err)
		}
		return figures{
			rate: got.Rate, p50: time.Duration(got.P50 * float64(time.Second)), p99: time.Duration(got.P99 * float64(time.Second)),
		}, nil
	}}}
}

// RiverDatabase is where River's tables are, on the same server.
const RiverDatabase = "river"
