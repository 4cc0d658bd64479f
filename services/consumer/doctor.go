package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"orderflow.example/services/consumer/internal/config"
)

func runDoctor(_ context.Context, _ config.Config, _ *slog.Logger, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "not yet")
	return exitFault
}
