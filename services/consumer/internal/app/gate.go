package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/program"
	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// pause is `consumer pause`: it stops all consumers of the queue, also those that are started later.
func pause(ctx context.Context, s *config.Config, call *program.Call) error {
	return atGate(ctx, s, call, func(ctx context.Context, q *queue.Queue, conn *pgx.Conn) (queue.GateRow, error) {
		return q.Pause(ctx, conn, s.ConsumerID)
	})
}

// resume is `consumer resume`.
func resume(ctx context.Context, s *config.Config, call *program.Call) error {
	return atGate(ctx, s, call, func(ctx context.Context, q *queue.Queue, conn *pgx.Conn) (queue.GateRow, error) {
		return q.Resume(ctx, conn)
	})
}

// status is `consumer status`.
func status(ctx context.Context, s *config.Config, call *program.Call) error {
	return atGate(ctx, s, call, func(ctx context.Context, q *queue.Queue, conn *pgx.Conn) (queue.GateRow, error) {
		return q.ReadGate(ctx, conn)
	})
}

// advice says what to change, where the server's words do not. Empty when they do.
func advice(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return ""
	}
	switch answer.Code {
	case pgerrcode.UndefinedTable, pgerrcode.UndefinedFunction, pgerrcode.InvalidSchemaName, pgerrcode.UndefinedColumn:
		return ": is it another DATABASE_URL or QUEUE_NAME? If not, run `api migrate` with them; `consumer doctor` says more"
	case pgerrcode.InsufficientPrivilege:
		return ": connect as the consumers do, or run `api migrate` with this role as CONSUMER_DB_ROLE; `consumer doctor` says more"
	}
	return ""
}

// atGate does something with the queue's gate, and says how it is then.
func atGate(ctx context.Context, s *config.Config, call *program.Call, do func(context.Context, *queue.Queue, *pgx.Conn) (queue.GateRow, error)) error {
	server := pg.NewCommandServer(s.DatabaseURL, call.Command)
	link := server.NewLink(call.Command, nil)
	link.Limit(patience)
	defer link.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found queue.GateRow
	err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		found, err = do(ctx, queue.New(s.QueueName, queue.Description{}), conn)
		return err
	})
	if err != nil {
		what := call.Command
		if what == "status" {
			what = "say the status"
		}
		fmt.Fprintf(call.Stderr, "consumer: cannot %s: %s%s\n", what, postgres.Brief(err), advice(err))
		return program.ExitError(program.Fault)
	}
	_, err = fmt.Fprintf(call.Stdout, "%s: %s\n", s.QueueName, cmp.Or(found.Describe(found.Now), "running"))
	return err
}
