package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/kit/secret"
)

// Node is one api, consumer or receiver: a process that can be ended and started again with the same name, ports and settings.
type Node struct {
	Name    string
	Service Service
	stack   *Stack
	env     []string
	key     string // that a receiver's webhooks are signed with

	mu      sync.Mutex
	port    int // of an api or a receiver
	metrics int
	process *proc.Process
	data    int
}

// LimitData limits what the process can write to, in bytes, from its next start on (RLIMIT_DATA).
func (n *Node) LimitData(bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.data = bytes
}

// client never keeps a connection: a probe must tell the state of now, and a process that is killed must not leave us with one.
// scraper is one for what takes as long as the database does.
var (
	client  = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	scraper = &http.Client{Timeout: 20 * time.Second, Transport: client.Transport}
)

// value is what the environment that the node inherits says of a variable; empty when it says nothing.
func (n *Node) value(name string) string { return lookup(n.stack.environ(n.Service, n.env...), name) }

func lookup(env []string, name string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// wanted returns the port that is asked for by name, or 0.
func (n *Node) wanted(name string) int {
	port, err := strconv.Atoi(n.value(name))
	if err != nil || port < 0 {
		return 0
	}
	return port
}

// Token is one that an api answers to; empty when it asks for none.
func (n *Node) Token() string {
	list := n.value("API_TOKENS")
	if file := n.value("API_TOKENS_FILE"); list == "" && file != "" {
		content, err := os.ReadFile(file) //nolint:gosec // the person at this machine names it
		if err != nil {
			return "" // the api does not start without it, and says why
		}
		list = string(content)
	}
	for _, token := range secret.List(list) {
		return token
	}
	return ""
}

// pickPorts chooses the ports for the node's whole life. An API_PORT that is asked for goes to the first api; metrics ports are
// always our choice, because consumers are many on one machine.
func (n *Node) pickPorts() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if n.metrics, err = ports.Free(); err != nil {
		return err
	}
	if n.Service == Consumer {
		return nil
	}
	if n.Service == Receiver {
		n.port, err = ports.Free()
		return err
	}
	if len(n.stack.Nodes(API)) == 0 {
		n.port = n.wanted("API_PORT")
	}
	switch {
	case n.port != 0:
	case n.stack.opts.PreferPort != 0:
		n.port, err = ports.Prefer(n.stack.opts.PreferPort)
	default:
		n.port, err = ports.Free()
	}
	return err
}

// URL is where an api or a receiver answers.
func (n *Node) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return address(n.port)
}

// MetricsURL is where metrics, profiles and the details of the probes are.
func (n *Node) MetricsURL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return address(n.metrics)
}

func address(port int) string { return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Process is the node's process of now; nil before the first Start.
func (n *Node) Process() *proc.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// Start starts the process, for the first time or again after its end.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil && n.process.Running() {
		return fmt.Errorf("%s is running already", n.Name)
	}
	var env []string
	if n.Service != Receiver {
		env = append(env, "DATABASE_URL="+n.stack.opts.DatabaseURL)
	}
	for _, host := range []string{"API_HOST", "METRICS_HOST"} { // nobody else's business, unless somebody says so
		if n.value(host) == "" {
			env = append(env, host+"=127.0.0.1")
		}
	}
	if n.Service == Consumer {
		env = append(env, "CONSUMER_ID="+n.Name)
	}
	env = append(env, n.env...)
	// The ports are ours to choose, whatever the environment says.
	env = append(env, "METRICS_PORT="+strconv.Itoa(n.metrics))
	program, args := n.Service, []string(nil)
	switch n.Service {
	case API:
		env = append(env, "API_PORT="+strconv.Itoa(n.port))
	case Receiver:
		env = append(env, "RECEIVER_PORT="+strconv.Itoa(n.port))
		program, args = Loadgen, []string{"receive"}
	}
	path := n.stack.opts.Binaries[program]
	if n.data > 0 {
		path, args = "sh", append([]string{"-c", `ulimit -d "$0" && exec "$@"`, strconv.Itoa(n.data / 1024), path}, args...)
	}
	p, err := proc.Start(n.stack.opts.Session, proc.Spec{
		Name: n.Name, Path: path, Args: args,
		Env: n.stack.environ(n.Service, env...), Lines: n.stack.opts.Lines,
	})
	if err != nil {
		return err
	}
	n.process = p
	return nil
}

// WaitReady waits until the node says that it is ready; with an error when its process ends before that. A port that somebody else
// took in the meantime is replaced by another one.
func (n *Node) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; {
		p := n.Process()
		err := n.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			if !n.portTaken() || tries == 5 || n.wanted("API_PORT") != 0 {
				return p.Failure()
			}
			tries++
			if err := errors.Join(n.pickPorts(), n.Start()); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready (%w): %w", n.Name, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// portTaken tells whether somebody else listens on a port of the node's, which has ended.
func (n *Node) portTaken() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return ports.Taken(n.port) || ports.Taken(n.metrics)
}

// Ready asks the node once whether it is ready. The answer's body says what is missing.
func (n *Node) Ready(ctx context.Context) error {
	base := n.MetricsURL()
	if n.Service == API {
		base = n.URL()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// Stop asks the process to drain and end (SIGTERM) and waits for it. An exit code other than 0 is an error.
func (n *Node) Stop(ctx context.Context) error {
	p := n.Process()
	if p == nil || !p.Running() {
		return nil
	}
	if err := p.Stop(ctx, syscall.SIGTERM, stopGrace); err != nil {
		return err
	}
	if p.ExitCode() != 0 {
		return p.Failure()
	}
	return nil
}

// Kill kills the process without warning (SIGKILL) and waits until it is gone.
func (n *Node) Kill() {
	if p := n.Process(); p != nil {
		p.Kill()
	}
}

// Pause stops the process with SIGSTOP: it holds what it holds and does nothing.
func (n *Node) Pause() error { return n.Process().SignalGroup(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.Process().SignalGroup(syscall.SIGCONT) }
