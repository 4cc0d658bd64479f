package main

import (
	"context"
	"fmt"
	"time"

	"orderflow.example/kit/program"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/housekeeping"
)

// retention says what the settings would delete now, and deletes nothing.
func retention(ctx context.Context, cfg *config.Config, call *program.Call) error {
	conn, err := database.Connect(ctx, cfg.Database, database.Timeouts(10*time.Minute))
	if err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	defer database.Discard(conn)
	due, err := housekeeping.CountDue(ctx, conn, cfg.QueueName, cfg.OrderRetention, cfg.DeadLetterRetention)
	if err != nil {
		return err
	}
	say := func(name string, keep time.Duration, what string) {
		if keep == 0 {
			fmt.Fprintf(call.Stdout, "%s=0s: %s are kept for ever\n", name, what)
		}
	}
	say("ORDER_RETENTION", cfg.OrderRetention, "completed orders")
	if cfg.OrderRetention > 0 {
		fmt.Fprintf(call.Stdout, "ORDER_RETENTION=%s: %d of %d completed orders are to be deleted\n", cfg.OrderRetention, due.Orders, due.Completed)
	}
	say("DEAD_LETTER_RETENTION", cfg.DeadLetterRetention, "dead letters and their orders")
	if cfg.DeadLetterRetention > 0 {
		fmt.Fprintf(call.Stdout, "DEAD_LETTER_RETENTION=%s: %d of %d dead letters and %d of %d dead orders are to be deleted\n",
			cfg.DeadLetterRetention, due.Letters, due.AllLetters, due.DeadOrders, due.Dead)
	}
	return nil
}
