// Package browser tests the dashboard as people have it: in Chromium, in front of the real programs on a real Postgres.
//
// It is a module of its own so that nobody who builds the rest needs a browser's protocol.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"orderflow.example/dev/browser/internal/chrome"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// shared are the programs and the browser, made once for all tests.
type shared struct {
	session  *session.Session
	binaries stack.Binaries
	chromium *chrome.Browser
}

var common = sync.OnceValues(func() (*shared, error) {
	s := &shared{}
	opened = s
	var err error
	if s.session, err = session.Open(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	root, err := stack.Root()
	if err != nil {
		return nil, err
	}
	if s.binaries, err = stack.Build(ctx, s.session, root, "", stack.Services...); err != nil {
		return nil, err
	}
	s.chromium, err = chrome.Open(context.Background())
	return s, err
})

var opened *shared

func TestMain(m *testing.M) {
	code := m.Run()
	if opened != nil {
		if opened.chromium != nil {
			opened.chromium.Close()
		}
		if opened.session != nil {
			if err := opened.session.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

const adminToken = "admin-token-of-the-browser-tests"

// bundle is what a test needs: services on a database of its own, and tabs to look at them.
type bundle struct {
	*shared
	t     *testing.T
	ctx   context.Context
	stack *stack.Stack
	api   *stack.Node

	mu    sync.Mutex
	lines []string
}

// setup starts an api on a database; an empty URL is a new one.
func setup(t *testing.T, databaseURL string, env ...string) *bundle {
	t.Helper()
	s, err := common()
	if err != nil {
		t.Fatal(err)
	}
	if databaseURL == "" {
		databaseURL = testdb.New(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bundle{shared: s, t: t, ctx: ctx}
	b.stack = stack.New(stack.Options{
		Session: s.session, Binaries: s.binaries, DatabaseURL: databaseURL, Lines: b.line,
		Env: append([]string{"LOG_FORMAT=json", "ADMIN_TOKEN=" + adminToken, "REQUEST_TIMEOUT=1m"}, env...), // a page that is refused is a complaint
	})
	t.Cleanup(func() {
		if err := b.stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, line := range b.lines[max(0, len(b.lines)-40):] {
				t.Log(line)
			}
		}
	})
	b.api, err = b.stack.StartAPI(ctx, "api")
	b.must(err)
	return b
}

func (b *bundle) line(l proc.Line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, l.Process+" | "+l.Text)
}

func (b *bundle) must(errs ...error) {
	b.t.Helper()
	if err := errors.Join(errs...); err != nil {
		b.t.Fatal(err)
	}
}

// consumer starts one whose work is quick and does not fail, unless env says otherwise.
func (b *bundle) consumer(name string, env ...string) *stack.Node {
	b.t.Helper()
	n, err := b.stack.StartConsumer(b.ctx, name, append([]string{"SIMULATE_WORK=5ms", "SIMULATE_FAILURES=none", "VT=5"}, env...)...)
	b.must(err)
	return n
}

// load posts orders at a rate until the test ends, or until so many are posted.
func (b *bundle) load(env ...string) *stack.Load {
	b.t.Helper()
	l, err := b.stack.Loadgen(b.api, nil, append([]string{"PROGRESS=off", "LOG_FORMAT=json", "AUDIT=false"}, env...)...)
	b.must(err)
	b.t.Cleanup(l.Kill)
	return l
}

// orders posts so many orders and waits until they are accepted.
func (b *bundle) orders(n int) {
	b.t.Helper()
	l := b.load(fmt.Sprintf("ORDERS=%d", n))
	code, err := l.Wait(b.ctx)
	if err == nil && code != 0 {
		err = l.Failure()
	}
	b.must(err)
}

// tab opens a tab on a page of the dashboard. When the test ends, nothing may have been complained about and nobody else asked.
func (b *bundle) tab(view chrome.View, path string, allowed ...string) tab {
	b.t.Helper()
	opened, err := b.chromium.Tab(view)
	b.must(err)
	t := tab{opened, b}
	b.t.Cleanup(func() {
		t.quiet(allowed...)
		if b.t.Failed() {
			if text, err := opened.Text("body"); err == nil {
				b.t.Log(path + " shows\n" + text)
			}
		}
		opened.Close()
	})
	t.open(path)
	return t
}

// command runs a service's command, as somebody of a name, on the test's database.
func (b *bundle) command(service stack.Service, command, name string) error {
	p, err := proc.Start(b.session, proc.Spec{
		Name: command, Path: b.binaries[service], Args: []string{command},
		Env: []string{"DATABASE_URL=" + b.stack.DatabaseURL(), "CONSUMER_ID=" + name},
	})
	if err != nil {
		return err
	}
	code, err := p.Wait(b.ctx)
	if err == nil && code != 0 {
		err = p.Failure()
	}
	return err
}
