package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
)

// testConnections is enough for every package's tests at the same time, each with a few pools.
const testConnections = 500

// withPostgres runs a command with a Postgres for tests: TEST_DATABASE_URL names a server on which they may create databases, and
// TEST_TEMPLATE a database with the current schema to copy. A server that TEST_DATABASE_URL already names is used, DATABASE_URL never
// is: tests are not let loose on the database that somebody works with.
func withPostgres(ctx context.Context, env *environment, args []string) (code int, err error) {
	if len(args) == 0 {
		return exitUsage, errors.New("with-postgres: which command?")
	}
	server, err := postgres.Open(ctx, postgres.Options{
		Session: env.session, DatabaseURL: os.Getenv("TEST_DATABASE_URL"), From: os.Getenv("POSTGRES_FROM"),
		MaxConnections: testConnections, Say: env.say,
	})
	if err != nil {
		return exitFault, err
	}
	cleanup := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, server.Close(cleanup)) }()

	template := os.Getenv("TEST_TEMPLATE")
	if template == "" {
		template = "orderflow_template_" + strings.ToLower(rand.Text()[:8])
		if err := makeTemplate(ctx, env, server, template); err != nil {
			return exitFault, err
		}
		if !server.Private() {
			defer func() { err = errors.Join(err, stack.DropDatabase(cleanup, server.URL(), template)) }()
		}
	}

	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it gets our signals, below
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, env.stdout, env.stderr
	cmd.Env = append(os.Environ(), "TEST_DATABASE_URL="+server.URL(), "TEST_TEMPLATE="+template)
	// A group of its own, so that it can be ended with all that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return exitFault, err
	}
	group := cmd.Process.Pid
	env.session.TrackPID(session.Group, group)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = endGroup(group, ended)
	}
	env.session.UntrackPID(session.Group, group)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), exitFault), nil
	}
	return 0, err
}

// endGroup passes an interrupt on to the command and all that it started, and gives them some seconds.
func endGroup(group int, ended <-chan error) error {
	_ = syscall.Kill(-group, syscall.SIGINT)
	grace := time.NewTimer(15 * time.Second)
	defer grace.Stop()
	select {
	case err := <-ended:
		return err
	case <-grace.C:
		_ = syscall.Kill(-group, syscall.SIGKILL)
		return <-ended
	}
}

// makeTemplate creates a database with the current schema. The queue that it has is the default one.
func makeTemplate(ctx context.Context, env *environment, server *postgres.Server, name string) error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	binaries, err := stack.Build(ctx, env.session, root, "", stack.API)
	if err != nil {
		return err
	}
	url, err := stack.CreateDatabase(ctx, server.URL(), name, "")
	if err != nil {
		return err
	}
	return stack.Migrate(ctx, env.session, binaries, url)
}
