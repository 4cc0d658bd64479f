package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// lag measures how late this machine is by itself while a fault runs: how late our own timers fire, and how long a server of our own that
// does nothing takes to answer. On a machine that is busy with other things a bar is that much higher; without this the suite would judge
// the neighbours. Nothing of the system under test is asked: one that is slow would excuse itself.
type lag struct {
	cancel context.CancelFunc
	server *http.Server
	work   sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
}

const (
	lagTick  = 10 * time.Millisecond
	lagProbe = 100 * time.Millisecond
)

func startLag(ctx context.Context) (*lag, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("measure this machine's lag: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &lag{cancel: cancel, server: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: probeTimeout}}
	l.work.Go(func() { _ = l.server.Serve(listener) }) // until stop
	l.work.Go(func() { l.timers(ctx) })
	l.work.Go(func() { l.answers(ctx, "http://"+listener.Addr().String()) })
	return l, nil
}

func (l *lag) note(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worst = max(l.worst, d)
}

func (l *lag) timers(ctx context.Context) {
	timer := time.NewTimer(lagTick)
	defer timer.Stop()
	for {
		set := time.Now()
		timer.Reset(lagTick)
		select {
		case <-timer.C:
			l.note(time.Since(set) - lagTick)
		case <-ctx.Done():
			return
		}
	}
}

func (l *lag) answers(ctx context.Context, url string) {
	client := &http.Client{Timeout: probeTimeout}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(lagProbe)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		asked := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return
		}
		resp, err := client.Do(req)
		switch {
		case err == nil:
			_, _ = io.Copy(io.Discard, resp.Body) // only the time counts
			_ = resp.Body.Close()
		case ctx.Err() != nil:
			return
		}
		l.note(time.Since(asked))
	}
}

func (l *lag) stop() {
	l.cancel()
	_ = l.server.Close() // nobody else has anything to do with it
	l.work.Wait()
}

func (l *lag) most() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst
}
