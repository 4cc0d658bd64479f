package stack

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/session"
)

// Options describe a stack.
type Options struct {
	Session     *session.Session
	Binaries    Binaries
	DatabaseURL string
	// Inherit passes our own environment on to the services, as a person at the demo expects. Without it they get only what is
	// given here: a test must not depend on what somebody has exported.
	Inherit bool
	// Env are variables for all three services, as NAME=value.
	Env []string
	// PreferPort is the first api's port unless API_PORT says otherwise, when nobody listens on it; 0 for any.
	PreferPort int
	// Lines is called for each line that a service prints, from several goroutines. May be nil.
	Lines func(proc.Line)
}

// Stack is a set of running services on one database. Its methods can be called from several goroutines.
type Stack struct {
	opts Options

	mu    sync.Mutex
	nodes []*Node
}

// New returns a stack without any service yet.
func New(opts Options) *Stack {
	if opts.Lines == nil {
		opts.Lines = func(proc.Line) {}
	}
	return &Stack{opts: opts}
}

// DatabaseURL is the database that the stack works on.
func (s *Stack) DatabaseURL() string { return s.opts.DatabaseURL }

// machine are the variables that a program may need to run on this machine at all.
var machine = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "USER", "GOMAXPROCS", "GODEBUG", "GORACE", "GOTRACEBACK", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// environ is the environment of one process: what is given here before what we have ourselves, and SERVICE__NAME=value of ours as
// NAME=value for that service alone (CONSUMER__CONCURRENCY, LOADGEN__CONCURRENCY).
func environ(inherit bool, own []string, service Service, given ...string) []string {
	values := map[string]string{}
	prefix := strings.ToUpper(string(service)) + "__"
	set := func(kv string) {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			values[name] = value
		}
	}
	for _, kv := range own {
		name, _, _ := strings.Cut(kv, "=")
		if inherit && !strings.Contains(name, "__") || slices.Contains(machine, name) {
			set(kv)
		}
	}
	for _, kv := range given {
		set(kv)
	}
	if inherit {
		for _, kv := range own {
			if rest, ok := strings.CutPrefix(kv, prefix); ok {
				set(rest)
			}
		}
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func (s *Stack) environ(service Service, given ...string) []string {
	return environ(s.opts.Inherit, os.Environ(), service, slices.Concat(s.opts.Env, given)...)
}

func (s *Stack) add(n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, n)
}

// Nodes returns the stack's services of one kind, running or not, in the order of their start.
func (s *Stack) Nodes(service Service) []*Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Node
	for _, n := range s.nodes {
		if n.Service == service {
			out = append(out, n)
		}
	}
	return out
}

// StartAPI starts an api on a port of its own (or the wanted one) and waits until it is ready.
func (s *Stack) StartAPI(ctx context.Context, name string, env ...string) (*Node, error) {
	return s.startNode(ctx, API, name, env)
}

// StartConsumer starts a consumer and waits until it is ready.
func (s *Stack) StartConsumer(ctx context.Context, name string, env ...string) (*Node, error) {
	return s.startNode(ctx, Consumer, name, env)
}

func (s *Stack) startNode(ctx context.Context, service Service, name string, env []string) (*Node, error) {
	n, err := s.LaunchNode(ctx, service, name, env...)
	if err != nil {
		return nil, err
	}
	return n, n.WaitReady(ctx)
}

// LaunchNode starts a service without waiting until it is ready.
func (s *Stack) LaunchNode(_ context.Context, service Service, name string, env ...string) (*Node, error) {
	n := &Node{Name: name, Service: service, stack: s, env: env}
	if err := n.pickPorts(); err != nil {
		return nil, err
	}
	s.add(n)
	return n, n.Start()
}

// stopGrace is how long a service may take to end after SIGTERM: longer than the longest drain by default (consumer: 20 s + 4 s).
const stopGrace = 30 * time.Second

// Stop ends all services in the order that loses nothing of what is under way: consumers, then receivers, which ask the api for their
// account, then the api. Postgres and the load generator are their owners'.
func (s *Stack) Stop(ctx context.Context) error {
	var errs []error
	for _, service := range []Service{Consumer, Receiver, API} {
		nodes := s.Nodes(service)
		results := make([]error, len(nodes))
		var stops sync.WaitGroup
		for i, n := range nodes {
			stops.Go(func() { results[i] = n.Stop(ctx) })
		}
		stops.Wait()
		errs = append(errs, results...)
	}
	return errors.Join(errs...)
}
