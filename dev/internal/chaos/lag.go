package chaos

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// lag measures how late this machine is by itself while a fault runs: how long the api takes to say that it lives, which asks for no
// database, and how late our own timers fire. On a machine that is busy with other things a bar is that much higher; without this
// the suite would judge the neighbours.
type lag struct {
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
}

const (
	lagTick  = 10 * time.Millisecond
	lagProbe = 100 * time.Millisecond
)

func startLag(ctx context.Context, livez string) *lag {
	ctx, cancel := context.WithCancel(ctx)
	l := &lag{cancel: cancel}
	l.work.Go(func() { l.timers(ctx) })
	l.work.Go(func() { l.answers(ctx, livez) })
	return l
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

func (l *lag) answers(ctx context.Context, livez string) {
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
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, livez, http.NoBody)
		if err != nil {
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			continue // it was killed, which says nothing about the machine
		}
		_, _ = io.Copy(io.Discard, resp.Body) // only the time counts
		_ = resp.Body.Close()
		l.note(time.Since(asked))
	}
}

func (l *lag) stop() {
	l.cancel()
	l.work.Wait()
}

func (l *lag) most() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst
}
