// Package pgproxy owns a proxy in front of PostgreSQL that breaks connections at chosen moments, as networks and servers do: before a
// statement arrives or before it is committed, after it has run but before its reply is seen, or never answering at all.
//
// It must never change what it passes on but by a fault, and never be part of a service: it is for tests and for what makes faults.
package pgproxy

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what happens to the connection on which a chosen statement is sent.
type Fault int

const (
	// Unsent cuts the connection before the statement reaches the server.
	Unsent Fault = iota
	// Uncommitted cuts the connection after the statement has reached the server, before what would commit it: the server rolls back.
	Uncommitted
	// Unanswered lets the server run the statement to its end, then cuts the connection without passing the reply on.
	Unanswered
	// Unfinished passes the reply on but for its last message, which says that the transaction is over.
	Unfinished
	// Panicked passes the reply on with a panic in the place of its last message: the server has committed, and finds that its disk is full.
	Panicked
	// Held lets the server run the statement, and keeps the end of the reply back until [Proxy.Release].
	Held
)

// Proxy forwards to one server. Its methods may be called by several goroutines.
type Proxy struct {
	URL string // of the database, by way of the proxy

	listener net.Listener
	running  sync.WaitGroup
	ctx      context.Context //nolint:containedctx // the proxy's life, for what it dials
	cancel   context.CancelFunc
	requests atomic.Int64
	sprung   atomic.Int64
	refused  atomic.Int64
	delay    atomic.Int64

	mu       sync.Mutex
	target   string
	links    map[*link]struct{}
	refusing bool
	frozen   chan struct{} // not nil: nothing is forwarded until it is closed
	held     chan struct{} // closed by Release
	trap     *trap
}

// trap is one armed fault.
type trap struct {
	match  func(statement string) bool
	fault  Fault
	before []func()
	sprung chan struct{}
}

// New starts a proxy before the server of a database's URL. Connections by way of it are not encrypted. The caller closes it.
func New(database string) (*Proxy, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, fmt.Errorf("the database's address must be a URL: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: u.Host, listener: listener, links: map[*link]struct{}{}, held: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	u.Host = listener.Addr().String()
	p.URL = u.String()
	p.running.Go(p.accept)
	return p, nil
}

// Host is where the proxy listens, as host:port.
func (p *Proxy) Host() string { return p.listener.Addr().String() }

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.cancel()
	p.Thaw()
	p.Release()
	p.Refuse()
	p.running.Wait()
}

// Trap arms a fault for the next statement whose text begins with statement; an empty one is any. It takes the place of a trap that
// still waits. What is returned is closed when the fault has happened. The functions are called just before the connection is cut, or
// the reply held.
func (p *Proxy) Trap(statement string, fault Fault, before ...func()) <-chan struct{} {
	return p.TrapFunc(func(text string) bool { return strings.HasPrefix(text, statement) }, fault, before...)
}

// TrapFunc is [Proxy.Trap] for the next statement whose text matches.
func (p *Proxy) TrapFunc(match func(statement string) bool, fault Fault, before ...func()) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = &trap{match: match, fault: fault, before: before, sprung: make(chan struct{})}
	return p.trap.sprung
}

// Disarm takes back a trap that still waits.
func (p *Proxy) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = nil
}

// Sprung is how many faults have happened.
func (p *Proxy) Sprung() int { return int(p.sprung.Load()) }

// spring does what is to be done at the moment of a fault.
func (p *Proxy) spring(t *trap, cut func()) {
	for _, f := range t.before {
		f()
	}
	cut()
	p.sprung.Add(1)
	close(t.sprung)
}

// Release lets held replies through.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
	default:
		close(p.held)
	}
}

// Cut resets all present connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Refuse cuts all connections, and new ones at once, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	p.refusing = true
	p.mu.Unlock()
	p.Cut()
}

// Accept ends Refuse.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
}

// Freeze stops all traffic, of present and new connections, without closing any: what a hanging server or a void looks like.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw lets traffic flow again, including what was sent meanwhile.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// Silence makes present connections swallow everything from now on without being closed, as when the other end has vanished
// without a word. New ones work.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.silent.Store(true)
	}
}

// Lead makes new connections lead to another server, given as host:port. Those that stand stay where they are, as behind a Service that has
// another endpoint by now.
func (p *Proxy) Lead(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = to
}

// Delay makes every round trip, also those of connecting, take longer by that.
func (p *Proxy) Delay(each time.Duration) { p.delay.Store(int64(each)) }

// Requests is how many round trips clients have asked for.
func (p *Proxy) Requests() int64 { return p.requests.Load() }

// Refused is how many new connections were cut at once.
func (p *Proxy) Refused() int64 { return p.refused.Load() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := new(net.Dialer).DialContext(p.ctx, "tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l := newLink(p, client, server)
	if !p.take(l) {
		l.reset()
		return
	}
	l.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// take takes a connection on, unless new ones are refused: asked and done at once, so that none slips through between a refusal and its
// cut.
func (p *Proxy) take(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		p.refused.Add(1)
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// pass waits while nothing may pass.
func (p *Proxy) pass() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// trapped returns the armed trap if statement is what it waits for, and disarms it.
func (p *Proxy) trapped(statement string) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trap == nil || !p.trap.match(statement) {
		return nil
	}
	t := p.trap
	p.trap = nil
	return t
}
