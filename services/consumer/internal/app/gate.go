package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/program"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// pause is `consumer pause`: it stops all consumers of the queue, also those that are started later.
func pause(ctx context.Context, s *config.Config, call *program.Call) error {
	return change(ctx, s, call, func(g queue.Gate) gate.State { return g.Pause(g.Now, s.ConsumerID) })
}

// resume is `consumer resume`.
func resume(ctx context.Context, s *config.Config, call *program.Call) error {
	return change(ctx, s, call, func(g queue.Gate) gate.State { return g.Resume() })
}

// status is `consumer status`.
func status(ctx context.Context, s *config.Config, call *program.Call) error {
	return change(ctx, s, call, func(g queue.Gate) gate.State { return g.State })
}

// change changes the queue's gate, and says what it is then.
func change(ctx context.Context, s *config.Config, call *program.Call, how func(queue.Gate) gate.State) error {
	server := pg.NewServer(s.DatabaseURL, call.Command, slog.New(slog.DiscardHandler), pg.Observer{})
	link := server.NewLink(call.Command, nil)
	defer link.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var found queue.Gate
	err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		found, err = queue.New(s.QueueName, false).ChangeGate(ctx, conn, how)
		return err
	})
	if err != nil {
		fmt.Fprintf(call.Stderr, "consumer: cannot %s: %s\n", call.Command, postgres.Brief(err))
		return program.ExitError(program.Fault)
	}
	_, err = fmt.Fprintf(call.Stdout, "%s: %s\n", s.QueueName, cmp.Or(found.Describe(found.Now), "running"))
	return err
}
