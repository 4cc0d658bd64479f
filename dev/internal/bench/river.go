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

// riverBatches has one caller too, as a program that imports a file is.
func (b *Bench) riverBatches() (contenders []contender) {
	for _, kind := range []struct{ name, command string }{
		{"River, 1,000 orders and their jobs, COPY and InsertManyFastTx, ", "batch"},
		{"River, jobs alone, InsertManyFast of 1,000, ", "jobs"},
	} {
		for _, connections := range []int{1, 4} {
			contenders = append(contenders, b.river(kind.name+onConnections(connections), kind.command, "-connections", strconv.Itoa(connections), "-span", b.Span.String())...)
		}
	}
	return contenders
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
