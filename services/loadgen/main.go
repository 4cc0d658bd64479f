// Command loadgen creates orders, measures the answers and proves that each was processed exactly once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/services/loadgen/internal/app"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	program := app.Program{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Version: version, Signals: signals, Exit: os.Exit}
	os.Exit(program.Run(context.Background()))
}
