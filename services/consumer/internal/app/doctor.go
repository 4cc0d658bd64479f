package app

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/program"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// patience is how long a command waits for a database that may be slow: that is what it is often called for.
const patience = 20 * time.Second

// examine is `consumer doctor`: one look, a table on stdout, and 1 when there is something to do or a signal ends it.
func examine(ctx context.Context, s *config.Config, call *program.Call) error {
	server := pg.NewCommandServer(s.DatabaseURL, call.Command)
	link := server.NewLink("doctor", nil)
	link.Limit(patience)
	defer link.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var figures *doctor.Figures
	err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		figures, err = doctor.Examine(ctx, conn, queue.New(s.QueueName, queue.Description{}), effectFunction(s))
		return err
	})
	if err != nil {
		fmt.Fprintf(call.Stderr, "consumer: cannot examine the database: %s\n", postgres.Brief(err))
		return program.ExitError(program.Fault)
	}
	findings := figures.Findings()
	if err := figures.Write(call.Stdout, s.QueueName, findings); err != nil {
		return err
	}
	if !doctor.Healthy(findings) {
		return program.ExitError(program.Fault)
	}
	return nil
}
