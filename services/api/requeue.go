package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"orderflow.example/kit/program"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/housekeeping"
	"orderflow.example/services/api/internal/queue"
)

// shown is how many orders are listed, at most.
const shown = 20

// requeue lists the orders that are pending without a message, and with APPLY gives them new ones.
func requeue(ctx context.Context, cfg *config.Config, call *program.Call) error {
	conn, err := database.Connect(ctx, cfg.Database, database.Timeouts(10*time.Minute))
	if err != nil {
		return fmt.Errorf("requeue: %w", err)
	}
	defer database.Discard(conn)
	by := queue.Operator{By: "api requeue, role " + conn.Config().User, Note: cfg.Note}
	var found, requeued int64
	looked, err := housekeeping.FindStranded(ctx, conn, cfg.QueueName, cfg.OlderThan, func(orders []housekeeping.Stranded) error {
		for _, o := range orders {
			if found++; found <= shown {
				fmt.Fprintf(call.Stdout, "order %d, created %s\n", o.ID, o.Created.UTC().Format(time.RFC3339))
			}
		}
		if !cfg.Apply {
			return nil
		}
		n, err := housekeeping.Requeue(ctx, conn, cfg.QueueName, cfg.OlderThan, orders, by.Sign)
		requeued += n
		return err
	})
	if err != nil {
		return err
	}
	if found > shown {
		fmt.Fprintf(call.Stdout, "and %d more\n", found-shown)
	}
	return sayRequeued(call.Stdout, cfg, looked, found, requeued)
}

func sayRequeued(out io.Writer, cfg *config.Config, looked, found, requeued int64) error {
	_, err := fmt.Fprintf(out, "%s: %d orders looked at, %d pending for more than %s without a message", cfg.QueueName, looked, found, cfg.OlderThan)
	switch {
	case err != nil:
	case found == 0:
		_, err = fmt.Fprintln(out)
	case cfg.Apply:
		_, err = fmt.Fprintf(out, "; %d have a new one\n", requeued)
	default:
		_, err = fmt.Fprintln(out, "; nothing was changed: -apply gives them new ones")
	}
	return err
}
