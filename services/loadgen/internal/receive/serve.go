package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"orderflow.example/kit/listen"
)

// mostConnections are those of the port for webhooks. A sender has as many as it has calls under way.
const mostConnections = 12_000

// lastAnswers is how long answers may take after the end was asked for.
const lastAnswers = 2 * time.Second

// presence is the port for webhooks, which is not there while the receiver is away.
type presence struct {
	handler http.Handler
	host    string
	port    int
	address string // that it listens on, once it does
	log     *slog.Logger
	server  *http.Server
	ended   chan error // what Serve returned
}

// come listens and serves.
func (p *presence) come(ctx context.Context) error {
	listener, err := listen.Port(ctx, "RECEIVER", p.host, p.port, mostConnections, p.log)
	if err != nil {
		return err
	}
	p.address = listener.Addr().String()
	if at, ok := listener.Addr().(*net.TCPAddr); ok {
		p.port = at.Port // to come back to
	}
	p.ended = make(chan error, 1)
	p.server = &http.Server{
		Handler:           p.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnState:         listen.Track,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	server, ended := p.server, p.ended
	go func() { ended <- server.Serve(listener) }() // leave waits for it
	return nil
}

// leave ends it: answers under way may have a moment.
func (p *presence) leave(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if grace <= 0 || p.server.Shutdown(ctx) != nil {
		_ = p.server.Close() // nothing more can be done
	}
	if err := <-p.ended; !errors.Is(err, http.ErrServerClosed) {
		p.log.Warn("the port for webhooks had been closed already", slog.Any("error", err))
	}
}

// serve keeps the port open until ctx ends or the memory has failed, but for when the plan says that nobody is there. The port is open when it is
// called.
func (r *receiver) serve(ctx context.Context, p *presence, failed <-chan struct{}) error {
	for here := true; ; {
		away, left, changed := r.plan.Away()
		switch {
		case away && here:
			p.leave(0)
			p.log.Info("fault away: listener closed", slog.String("address", p.address))
		case !away && !here:
			if err := p.come(ctx); err != nil {
				return err
			}
			p.log.Info("listener reopened", slog.String("address", p.address))
		}
		here = !away
		var over <-chan time.Time
		var ended <-chan error
		if left > 0 {
			timer := time.NewTimer(left)
			defer timer.Stop() // as many as there were orders
			over = timer.C
		}
		if here {
			ended = p.ended
		}
		select {
		case <-changed:
		case <-over:
		case <-ctx.Done():
			if here {
				p.leave(lastAnswers)
			}
			return nil
		case <-failed:
			if here {
				p.leave(0)
			}
			return errors.New("the state file cannot be written, so nothing more can be taken")
		case err := <-ended:
			return fmt.Errorf("serve webhooks: %w", err)
		}
	}
}
