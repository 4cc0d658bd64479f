package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"orderflow.example/kit/listen"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/http1"
)

// ownDescriptors are those that neither clients nor the database have: standard streams, listeners, what the runtime opens, and a
// reserve for what libraries open for a moment.
const ownDescriptors = 32

// What the process's memory is divided into: clients' connections, large bodies, and the rest, which is the program's own and
// what the collector needs to breathe.
const (
	connectionMemory = 56 << 10 // of one at its worst: stack, buffers, an order's body; TestSlowClients… measures it
	connectionsShare = 2        // the part of the memory that connections may have, in here and in the kernel: one half
	bodiesShare      = 5        // of what is left to the collector
)

// limits is what there may be of things that clients can make many of.
type limits struct {
	connections int
	bodies      int64 // bytes of large bodies
	memory      int64 // of the collector's, in bytes
}

// bounds are what is configured, or what the limits of open files and of memory (GOMEMLIMIT) leave. The kernel's buffers of the
// connections count towards the same memory, and the collector cannot see them: its limit is lowered by that much.
func bounds(cfg *config.Config, log *slog.Logger) limits {
	l := within(cfg, debug.SetMemoryLimit(-1), log)
	debug.SetMemoryLimit(l.memory)
	return l
}

func within(cfg *config.Config, memory int64, log *slog.Logger) limits {
	l := limits{
		connections: listen.Below(cfg.MaxConnections, cfg.DBMaxConns+listen.SecondPort+ownDescriptors, log),
		bodies:      int64(cfg.BodyBudget),
		memory:      memory,
	}
	if memory == math.MaxInt64 {
		return l
	}
	if most := max(16, memory/connectionsShare/(connectionMemory+http1.KernelMemory)); int64(l.connections) > most {
		log.Warn("the limit of memory allows fewer connections than are configured", "gomemlimit", memory, "connections", most)
		l.connections = int(most)
	}
	l.memory = max(memory/connectionsShare, memory-int64(l.connections)*http1.KernelMemory)
	if most := max(l.memory/bodiesShare, int64(cfg.BodyLimit)); l.bodies > most {
		log.Warn("the limit of memory allows fewer bytes of large bodies than are configured", "gomemlimit", memory, "bytes", most)
		l.bodies = most
	}
	return l
}
