// Package ports picks TCP ports on the loopback interface for servers that are started as processes. It only picks: whoever
// listens on the port has to try again with another one when somebody else was faster.
package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range lies below the ephemeral ports of Linux (32768 and up) and macOS (49152 and up). A port out of the ephemeral range
// could be taken by any outgoing connection while its server restarts, and a client that reconnects to it could even be connected
// to itself (TCP's simultaneous open).
const (
	first = 15000
	count = 15000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free returns a port on which nobody listens and that this process has not been given before.
func Free() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var last error
	for range 200 {
		port := first + rand.IntN(count)
		if given[port] {
			continue
		}
		if err := listenable(port); err != nil {
			last = err
			continue
		}
		given[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", first, first+count-1, errors.Join(last))
}

// Prefer returns the wanted port when nobody listens on it, and otherwise a free one.
func Prefer(want int) (int, error) {
	if listenable(want) == nil {
		return want, nil
	}
	return Free()
}

// Taken tells whether somebody listens on a port by now: the reason, perhaps, why a server that was given it has not started.
func Taken(port int) bool { return port != 0 && listenable(port) != nil }

func listenable(port int) error {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
