// Package e2e tests Orderflow as its users have it: the real binaries as processes on a real Postgres, and the dev command itself.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
	patience "orderflow.example/kit/await"
)

// built are the programs under test, built once for all tests.
type built struct {
	session  *session.Session
	root     string
	binaries stack.Binaries
	dev      string
}

var (
	programs *built
	build    = sync.OnceValues(buildAll)
)

func buildAll() (*built, error) {
	s, err := session.Open()
	if err != nil {
		return nil, err
	}
	b := &built{session: s, dev: filepath.Join(s.Dir(), "dev")}
	programs = b
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if b.root, err = stack.Root(); err != nil {
		return nil, err
	}
	if b.binaries, err = stack.Build(ctx, s, b.root, "", stack.Services...); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.dev, "./cmd/dev")
	cmd.Dir = filepath.Join(b.root, "dev")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build dev: %w\n%s", err, out)
	}
	return b, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs != nil {
		if err := programs.session.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// bundle is what a test needs: the programs, and a stack on a database.
type bundle struct {
	*built
	stack *stack.Stack
	lines *lines
}

// lines collects what the services print.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line proc.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line.Process+" | "+line.Text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all[max(0, len(l.all)-60):], "\n")
}

func programsFor(t *testing.T) *built {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setup(t *testing.T, databaseURL string) bundle {
	t.Helper()
	return setupWith(t, databaseURL, programsFor(t).binaries)
}

func setupWith(t *testing.T, databaseURL string, binaries stack.Binaries) bundle {
	t.Helper()
	b := bundle{built: programsFor(t), lines: &lines{}}
	b.stack = stack.New(stack.Options{
		Session: b.session, Binaries: binaries, DatabaseURL: databaseURL, Lines: b.lines.add,
		Env: []string{"LOG_FORMAT=json", "LOG_LEVEL=debug", "REQUEST_TIMEOUT=1m"}, // on a busy machine nothing is sure to be done within the default
	})
	t.Cleanup(func() {
		if err := b.stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log("the services' last lines:\n" + b.lines.String())
		}
	})
	return b
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience.Limit())
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
