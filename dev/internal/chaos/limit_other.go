//go:build !linux

package chaos

import "orderflow.example/dev/internal/stack"

// limitMemory is not possible here from outside of the process.
func limitMemory(*stack.Node) error { return &skipError{"needs Linux (prlimit)"} }
