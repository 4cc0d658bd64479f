package chaos

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"orderflow.example/dev/internal/stack"
)

// limitMemory limits what a node's process can write to (RLIMIT_DATA), the one that runs and those that are started after it. It is what a
// container's limit comes to for a Go program: beyond it the runtime ends the process.
func limitMemory(n *stack.Node) error {
	n.LimitData(memoryLimit)
	limit := unix.Rlimit{Cur: memoryLimit, Max: memoryLimit}
	if err := unix.Prlimit(n.Process().PID(), unix.RLIMIT_DATA, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("limit the memory of %s: %w", n.Name, err)
	}
	return nil
}
