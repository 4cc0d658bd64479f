// Command screenshots takes the pictures of the dashboard for the README: the real programs under load, one picture for each colour
// scheme. `make screenshots` runs it. The charts show the last minutes, so it takes as long.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"orderflow.example/dev/browser/internal/chrome"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// filled is how long there is load before the pictures are taken: most of the charts' five minutes.
const filled = 4*time.Minute + 30*time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	s, err := session.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	server, err := postgres.Open(ctx, postgres.Options{Session: s})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()
	binaries, err := stack.Build(ctx, s, root, "", stack.Services...)
	if err != nil {
		return err
	}
	services := stack.New(stack.Options{Session: s, Binaries: binaries, DatabaseURL: server.URL(), Env: []string{"ADMIN_TOKEN=" + token}})
	defer func() { err = errors.Join(err, services.Stop(context.WithoutCancel(ctx))) }()
	api, err := services.StartAPI(ctx, "api")
	if err != nil {
		return err
	}
	if err := busy(ctx, services, api); err != nil {
		return err
	}
	return pictures(ctx, api, filepath.Join(root, "docs", "images"))
}

const token = "token-of-the-screenshots"

// busy puts the services under a load that has something to show: orders that fail and are retried, some that are given up, a consumer that is
// added and one that is taken away.
func busy(ctx context.Context, services *stack.Stack, api *stack.Node) error {
	end := time.Now().Add(filled)
	load, err := services.Loadgen(api, nil, "RATE=48", "DURATION="+(filled+time.Minute).String(), "ORDERS=0", "ARRIVALS=poisson", "PROGRESS=off", "AUDIT=false")
	if err != nil {
		return err
	}
	go func() { // it ends with the stack
		<-ctx.Done()
		load.Kill()
	}()
	consumer := func(name string, env ...string) (*stack.Node, error) {
		return services.StartConsumer(ctx, name, append([]string{"SIMULATE_WORK=300ms", "SIMULATE_FAILURES=example", "CONCURRENCY=20"}, env...)...)
	}
	if _, err := consumer("consumer-6d5f-4xk2p"); err != nil {
		return err
	}
	if err := until(ctx, end.Add(-filled*3/4)); err != nil {
		return err
	}
	strict, err := consumer("consumer-6d5f-9wqlm", "MAX_ATTEMPTS=2") // what fails twice is given up by this one
	if err != nil {
		return err
	}
	if err := until(ctx, end.Add(-filled/2)); err != nil {
		return err
	}
	if _, err := consumer("consumer-6d5f-tz8vd"); err != nil {
		return err
	}
	if err := strict.Stop(ctx); err != nil {
		return err
	}
	if err := until(ctx, end.Add(-filled/4)); err != nil {
		return err
	}
	if _, err := consumer("consumer-6d5f-b7h5n"); err != nil {
		return err
	}
	return until(ctx, end)
}

func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func pictures(ctx context.Context, api *stack.Node, dir string) error {
	browser, err := chrome.Open(ctx)
	if err != nil {
		return err
	}
	defer browser.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pictures for everybody
		return err
	}
	for _, scheme := range []string{"light", "dark"} {
		tab, err := browser.Tab(chrome.View{Width: 1280, Height: 1040, Scheme: scheme})
		if err != nil {
			return err
		}
		err = errors.Join(
			tab.Go(api.URL()+"/"),
			tab.Until("it is live", `document.querySelector('#pulse').innerText === 'Live'`),
			tab.Until("charts are drawn", `document.querySelectorAll('.plot canvas').length === 3`),
		)
		if err != nil {
			return err
		}
		picture, err := tab.Picture(false)
		if err != nil {
			return err
		}
		small, err := palette(picture)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, "dashboard-"+scheme+".png")
		if err := os.WriteFile(path, small, 0o644); err != nil { //nolint:gosec // pictures for everybody
			return err
		}
		fmt.Printf("%s: %d KiB\n", path, len(small)>>10)
		tab.Close()
	}
	return nil
}
