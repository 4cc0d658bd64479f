// Command consumer processes orders from a PGMQ queue, each exactly once in effect.
package main

import "orderflow.example/services/consumer/internal/app"

// version is stamped by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() { (&app.App{Version: version}).Program().Main() }
