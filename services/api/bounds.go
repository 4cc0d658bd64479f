package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"orderflow.example/kit/listen"
	"orderflow.example/services/api/internal/config"
)

// ownDescriptors are those that neither clients nor the database have: standard streams, listeners, what the runtime opens, and a
// reserve for what libraries open for a moment.
const ownDescriptors = 32

// What the process's memory is divided into: clients' connections, large bodies, and the rest, which is the program's own and
// what the collector needs to breathe.
const (
	connectionMemory = 56 << 10 // of one at its worst: stack, buffers, an order's body; TestSlowClients… measures it
	connectionsShare = 2        // the part of the memory that connections may have: one half
	bodiesShare      = 7
)

// bounds are how many connections there may be, and how many bytes of large bodies: what is configured, or what the limits of open
// files and of memory (GOMEMLIMIT) leave.
func bounds(cfg *config.Config, log *slog.Logger) (connections int, bodies int64) {
	return within(cfg, debug.SetMemoryLimit(-1), log)
}

func within(cfg *config.Config, memory int64, log *slog.Logger) (connections int, bodies int64) {
	connections = listen.Below(cfg.MaxConnections, cfg.DBMaxConns+listen.SecondPort+ownDescriptors, log)
	bodies = int64(cfg.BodyBudget)
	if memory == math.MaxInt64 {
		return connections, bodies
	}
	if most := max(16, memory/connectionsShare/connectionMemory); int64(connections) > most {
		log.Warn("the limit of memory allows fewer connections than are configured", "gomemlimit", memory, "connections", most)
		connections = int(most)
	}
	if most := max(memory/bodiesShare, int64(cfg.BodyLimit)); bodies > most {
		log.Warn("the limit of memory allows fewer bytes of large bodies than are configured", "gomemlimit", memory, "bytes", most)
		bodies = most
	}
	return connections, bodies
}
