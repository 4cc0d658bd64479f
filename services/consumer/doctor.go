package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/config"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// examine is `consumer doctor`: one look, a table on stdout, and 1 when there is something to do or a signal ends it.
func examine(ctx context.Context, s *config.Config, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	server, err := pg.NewServer(s.DatabaseURL, "doctor", slog.New(slog.DiscardHandler), pg.Observer{})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitConfiguration
	}
	link := server.NewLink("doctor", nil)
	defer link.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	var figures *doctor.Figures
	err = link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		figures, err = doctor.Examine(ctx, conn, queue.New(s.QueueName, false))
		return err
	})
	if err != nil {
		fmt.Fprintf(stderr, "cannot examine the database: %s\n", pg.Brief(err))
		return exitFault
	}
	findings := figures.Findings()
	if err := figures.Write(stdout, s.QueueName, findings); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFault
	}
	if !doctor.Healthy(findings) {
		return exitFault
	}
	return exitOK
}
