package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/stack"
)

// usualPort is where people expect the api.
const usualPort = 8000

// up keeps the api and the consumers running, to work on or to play with, until Ctrl-C.
func up(ctx context.Context, env *environment, _ []string) (code int, err error) {
	consumers, err := number("CONSUMERS", 1, 0, 64)
	if err != nil {
		return exitUsage, err
	}
	p, err := prepare(ctx, env, postgres.Options{DatabaseURL: os.Getenv("DATABASE_URL")})
	if err != nil {
		return exitFault, err
	}
	cleanup := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, closeServer(cleanup, p.server)) }()

	lines := &lineView{out: env.stdout}
	running := stack.New(stack.Options{
		Session: env.session, Binaries: p.binaries, DatabaseURL: p.server.URL(), Inherit: true, PreferPort: usualPort,
		Env: []string{"LOG_FORMAT=json"}, Lines: func(l proc.Line) { lines.line("", l) },
	})
	defer func() { err = errors.Join(err, running.Stop(cleanup)) }()
	api, err := running.StartAPI(ctx, "api")
	if err != nil {
		return exitFault, err
	}
	receiver, settings, err := running.StartHandler(ctx, api, p.server.Private())
	if err != nil {
		return exitFault, err
	}
	for i := range consumers {
		if _, err := running.StartConsumer(ctx, fmt.Sprintf("consumer-%d", i+1), settings...); err != nil {
			return exitFault, err
		}
	}
	env.say(`
Orderflow is up. Ctrl-C stops it%s.
  API         %s/docs
  an order    curl -d '{"customer_name":"Ada","product_name":"Lamp","quantity":1,"price":9.5}' -H 'Content-Type: application/json' %s/orders
  load        API_URL=%s go run -C %s .
  database    %s`,
		forgetting(p.server), api.URL(), api.URL(), api.URL(), "services/loadgen", psql(p.server))
	if api.Token() != "" {
		env.say("  with        -H 'Authorization: Bearer <one of API_TOKENS>', and API_TOKEN=<one of them> for the load")
	}
	for _, n := range running.Nodes(stack.Consumer) {
		env.say("  %-11s %s/metrics", n.Name, n.MetricsURL())
	}
	env.say("  %-11s %s/metrics", "api", api.MetricsURL())
	if receiver != nil {
		env.say("  %-11s %s/account; faults: curl -X PUT -d 'slow:10%%' %s/faults", "receiver", receiver.MetricsURL(), receiver.MetricsURL())
	}
	env.say("")

	ended := make(chan *stack.Node)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for _, service := range []stack.Service{stack.API, stack.Consumer, stack.Receiver} {
		for _, n := range running.Nodes(service) {
			go func() {
				select {
				case <-n.Process().Done():
					select {
					case ended <- n:
					case <-watching.Done():
					}
				case <-watching.Done():
				}
			}()
		}
	}
	select {
	case n := <-ended:
		return exitFault, n.Process().Failure()
	case <-ctx.Done():
		return exitInterrupted, nil
	}
}

// psql is how to reach the database: by its URL when it is ours, without showing the secret when it is not.
func psql(server *postgres.Server) string {
	if server.Private() {
		return "psql '" + server.URL() + "'"
	}
	return `psql "$DATABASE_URL"`
}

func forgetting(server *postgres.Server) string {
	if server.Private() {
		return " and throws the database away"
	}
	return ""
}
