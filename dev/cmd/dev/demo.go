package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/screen"
	"orderflow.example/dev/internal/stack"
)

// quietFrom is the number of orders from which on a line for each would only flicker by.
const quietFrom = 2000

// demo runs the whole of the example: api, consumers and load generator side by side, until every order is accounted for. Its exit
// code is the load generator's.
func demo(ctx context.Context, env *environment, _ []string) (code int, err error) {
	consumers, err := number("CONSUMERS", 1, 1, 64)
	if err != nil {
		return exitUsage, err
	}
	orders, err := number("ORDERS", 100, 0, 1_000_000_000)
	if err != nil {
		return exitUsage, err
	}
	started := time.Now()
	p, err := prepare(ctx, env, postgres.Options{DatabaseURL: os.Getenv("DATABASE_URL")})
	if err != nil {
		return exitFault, err
	}
	cleanup := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, closeServer(cleanup, p.server)) }()

	run := os.Getenv("RUN_ID")
	if run == "" {
		run = "demo-" + strings.ToLower(rand.Text()[:10])
	}
	d := &demonstration{
		env: env, view: newView(env.stdout), run: run, consumers: consumers, orders: orders, database: p.server.URL(), ours: p.server.Private(),
	}
	d.stack = stack.New(stack.Options{
		Session: env.session, Binaries: p.binaries, DatabaseURL: p.server.URL(), Inherit: true,
		Env: demoEnvironment(orders, run), Lines: d.line,
	})
	code, err = d.show(ctx)
	err = errors.Join(err, d.stack.Stop(cleanup))
	if err != nil || d.load == nil {
		return code, err
	}
	report, err := d.load.Report()
	if err != nil || report.Audit == nil { // it was broken off, or asked not to account for its orders
		return code, err
	}
	counts, err := countAttempts(ctx, d.database, run)
	if err != nil {
		return code, err
	}
	d.summary(counts, *report.Audit, p.server.Source, time.Since(started))
	return code, nil
}

// demoEnvironment is how the demo differs from the services' defaults: it shows each order. What a person has set comes first.
func demoEnvironment(orders int, run string) []string {
	env := []string{"LOG_FORMAT=json", "RUN_ID=" + run}
	defaults := []string{"PROGRESS_INTERVAL=1s", "LOG_LEVEL=debug"}
	if orders > quietFrom {
		defaults = []string{"PROGRESS_INTERVAL=1s"}
	}
	for _, kv := range defaults {
		if name, _, _ := strings.Cut(kv, "="); os.Getenv(name) == "" {
			env = append(env, kv)
		}
	}
	return env
}

// apiEnvironment likewise: of the requests it shows those that change something. What the demo asks to show the queue, and what the audit
// reads, would drown the orders.
func apiEnvironment(orders int) []string {
	if orders > quietFrom || os.Getenv("LOG_LEVEL") != "" {
		return nil
	}
	if os.Getenv("LOG_REQUESTS") != "" {
		return []string{"LOG_LEVEL=info"}
	}
	return []string{"LOG_LEVEL=info", "LOG_REQUESTS=changes"}
}

// demonstration is a running demo.
type demonstration struct {
	env       *environment
	view      view
	stack     *stack.Stack
	run       string
	consumers int
	simulated bool // the work, and its failures
	ours      bool // the database
	orders    int
	database  string

	load *stack.Load // once it has been started

	mu      sync.Mutex
	printed []string // by the load generator, as its result
}

// line shows a line of any service. What the load generator prints as its result is kept, to be shown again when the screen is gone.
func (d *demonstration) line(l proc.Line) {
	service := stack.Consumer
	switch l.Process {
	case "api":
		service = stack.API
	case "loadgen":
		service = stack.Loadgen
		if l.Stream == proc.Stdout {
			d.mu.Lock()
			if len(d.printed) < 200 {
				d.printed = append(d.printed, l.Text)
			}
			d.mu.Unlock()
		}
	}
	d.view.line(service, l)
}

// show runs the services and the load generator behind the view, and returns the load generator's exit code.
func (d *demonstration) show(ctx context.Context) (code int, err error) {
	// The work ends when the person quits, and the view when the work is done.
	working, stop := context.WithCancel(ctx)
	defer stop()
	showing, done := context.WithCancel(ctx)
	defer done()
	var work sync.WaitGroup
	work.Go(func() {
		defer done()
		code, err = d.work(working)
	})
	shown := d.view.run(showing)
	stop()
	work.Wait()
	if errors.Is(shown, screen.ErrQuit) {
		return exitInterrupted, nil
	}
	return code, errors.Join(err, shown)
}

func (d *demonstration) work(ctx context.Context) (int, error) {
	d.view.status(screen.Status{Phase: "starting", Orders: int64(d.orders)})
	api, err := d.stack.StartAPI(ctx, "api", apiEnvironment(d.orders)...)
	if err != nil {
		return exitFault, err
	}
	d.view.title(stack.API, "api "+api.URL())
	receiver, settings, err := d.stack.StartHandler(ctx, api, d.ours)
	if err != nil {
		return exitFault, err
	}
	for i := range d.consumers {
		if _, err := d.stack.LaunchNode(ctx, stack.Consumer, fmt.Sprintf("consumer-%d", i+1), settings...); err != nil {
			return exitFault, err
		}
	}
	for _, consumer := range d.stack.Nodes(stack.Consumer) {
		if err := consumer.WaitReady(ctx); err != nil {
			return exitFault, err
		}
	}
	if d.consumers == 1 {
		d.view.title(stack.Consumer, "consumer-1")
	} else {
		d.view.title(stack.Consumer, fmt.Sprintf("%d consumers", d.consumers))
	}

	d.simulated = settings == nil
	var account []string
	if receiver != nil {
		account = []string{"RECEIVER_URL=" + receiver.MetricsURL()}
	}
	loadgen, err := d.stack.Loadgen(api, nil, account...)
	if err != nil {
		return exitFault, err
	}
	d.load = loadgen
	d.view.title(stack.Loadgen, "loadgen "+d.run)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-loadgen.Done():
			d.view.status(d.status(ctx, api, "done"))
			return loadgen.ExitCode(), nil
		case <-ctx.Done():
			return exitInterrupted, loadgen.Interrupt(context.WithoutCancel(ctx))
		case <-tick.C:
			d.view.status(d.status(ctx, api, "running"))
		}
	}
}

// status collects what stands below the panes. What cannot be had right now is shown as 0: the next look is a moment away.
func (d *demonstration) status(ctx context.Context, api *stack.Node, phase string) screen.Status {
	queue, err := api.Queue(ctx)
	if err != nil {
		queue = stack.Queue{}
	}
	progress := d.stack.Progress(ctx)
	return screen.Status{
		Phase: phase, Orders: int64(d.orders), Completed: progress.Processed, Dead: progress.Dead, Retries: progress.Retried,
		Depth: queue.Depth, InFlight: queue.InFlight, Delayed: queue.Delayed,
	}
}
