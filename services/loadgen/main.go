// Command loadgen creates orders, measures the answers and proves that each was processed exactly once.
package main

import (
	// The image is FROM scratch and has no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"orderflow.example/services/loadgen/internal/app"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

func main() { app.New(version).Main() }
