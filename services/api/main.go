// Command api is Orderflow's HTTP service: it takes orders and owns the database's schema.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// version is stamped by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFault) // whoever asks twice does not want to wait
	}()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}
