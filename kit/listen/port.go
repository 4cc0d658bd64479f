package listen

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
)

// Port listens on what the settings <name>_HOST and <name>_PORT say, and bounds it to so many connections at a time. An error names them.
func Port(ctx context.Context, name, host string, port, most int, log *slog.Logger) (*Listener, error) {
	l, err := TCP(ctx, net.JoinHostPort(host, strconv.Itoa(port)), most, log)
	if err != nil {
		return nil, fmt.Errorf("%s_HOST and %s_PORT: %w", name, name, err)
	}
	if tell, ok := ctx.Value(observer{}).(func(name, address string)); ok {
		tell(name, l.Addr().String())
	}
	return l, nil
}

type observer struct{}

// Observe returns a context for which tell is called with each [Port] that is listened on, and its address. So a program in a test's own
// process is found when it may take any free port. tell must not block.
func Observe(ctx context.Context, tell func(name, address string)) context.Context {
	return context.WithValue(ctx, observer{}, tell)
}
