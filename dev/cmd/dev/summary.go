package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
)

// attempts says how many orders of the run needed how many attempts.
type attempts struct {
	attempts int
	status   string
	orders   int
}

// countAttempts counts the orders of a run. They are the only ones that count: a given database may hold others.
func countAttempts(ctx context.Context, databaseURL, run string) ([]attempts, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, fmt.Errorf("count the attempts: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select attempts, status, count(*) from public.orders
		where starts_with(idempotency_key, $1 || '-') group by 1, 2 order by 1, 2`, run)
	if err != nil {
		return nil, fmt.Errorf("count the attempts: %w", err)
	}
	counts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempts, err error) {
		return a, row.Scan(&a.attempts, &a.status, &a.orders)
	})
	if err != nil {
		return nil, fmt.Errorf("count the attempts: %w", err)
	}
	return counts, nil
}

// summary prints what the demo has shown. The audit's line is the last, as scripts expect it.
func (d *demonstration) summary(counts []attempts, audit stack.Audit, source string, took time.Duration) {
	out := d.env.stdout
	fmt.Fprintf(out, "\nOrderflow demo: %d consumer(s), %s, %.1f s\n", d.consumers, source, took.Seconds())
	failedOnce, failedTwice := 0, 0
	for _, c := range counts {
		if c.attempts > 1 {
			failedOnce += c.orders
		}
		if c.attempts > 2 {
			failedTwice += c.orders
		}
		fmt.Fprintf(out, "  %6d orders %s at attempt %d\n", c.orders, c.status, c.attempts)
	}
	simulated := ""
	if d.simulated {
		simulated = ", as simulated"
	}
	fmt.Fprintf(out, "  %6d failed at least once and %d of these twice%s: they were retried with backoff\n", failedOnce, failedTwice, simulated)
	if _, screen := d.view.(screenView); screen { // otherwise it has just been printed
		for _, line := range d.printed {
			fmt.Fprintln(out, line)
		}
		return
	}
	fmt.Fprintln(out, "audit:", audit)
}
