// Package tcpproxy stands between a program and Postgres and breaks the connection in chosen ways: cut, refused, silent, or cut at a
// chosen moment of a chosen statement. It understands as much of Postgres's protocol (documentation, chapter "Frontend/Backend
// Protocol") as it needs to see statements begin and transactions end.
//
// It must never change what it passes on: what goes wrong behind it goes wrong in real networks too.
package tcpproxy

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"orderflow.example/dev/internal/ports"
)

// Moment is when a trap cuts the connection.
type Moment int

const (
	// MidTransaction lets the server execute the statement and cuts before it can commit: the transaction is rolled back.
	MidTransaction Moment = iota
	// ReplyLost lets the server commit and cuts before the client learns of it.
	ReplyLost
)

// Trap cuts the connection on which a statement is executed.
type Trap struct {
	Match func(sql string) bool
	When  Moment
}

// Proxy is a listening proxy. Its methods can be called from several goroutines.
type Proxy struct {
	target   string
	listener net.Listener
	port     int
	cancel   context.CancelFunc
	ctx      context.Context //nolint:containedctx // the proxy's life, for dials
	work     sync.WaitGroup

	mu     sync.Mutex
	links  map[*link]struct{}
	down   bool
	held   chan struct{} // open while nothing is passed on
	trap   *Trap
	sprung int
}

// New starts a proxy before a server, given as host:port.
func New(target string) (*Proxy, error) {
	var listener net.Listener
	var port int
	for try := 0; ; try++ {
		var err error
		if port, err = ports.Free(); err != nil {
			return nil, err
		}
		var config net.ListenConfig
		listener, err = config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			break
		}
		if try == 5 {
			return nil, fmt.Errorf("listen as a proxy: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{target: target, listener: listener, port: port, cancel: cancel, ctx: ctx, links: map[*link]struct{}{}}
	p.work.Go(p.accept)
	return p, nil
}

// Port is where the proxy listens on 127.0.0.1.
func (p *Proxy) Port() int { return p.port }

// Close cuts everything and waits until all of it has ended.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.Cut()
	p.work.Wait()
	return err
}

// Cut resets all connections of now and returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
	return len(p.links)
}

// Refuse resets new connections at once, until it is called with false.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = refuse
}

// Hold stops passing bytes on, in both directions and without a sign to anybody, as a network does that drops all packets; until
// it is called with false.
func (p *Proxy) Hold(hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case hold && p.held == nil:
		p.held = make(chan struct{})
	case !hold && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// Arm sets a trap for the next statement that matches; nil takes it back.
func (p *Proxy) Arm(trap *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = trap
}

// Sprung is how many traps have cut a connection.
func (p *Proxy) Sprung() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sprung
}

// spring gives the trap to the first statement that matches.
func (p *Proxy) spring(sql string) *Trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trap == nil || !p.trap.Match(sql) {
		return nil
	}
	trap := p.trap
	p.trap = nil
	return trap
}

func (p *Proxy) countSprung() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sprung++
}

// gate waits as long as bytes are held back. It returns false when the link has ended meanwhile.
func (p *Proxy) gate(l *link) bool {
	for {
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-l.ended:
			return false
		}
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		client, ok := conn.(*net.TCPConn)
		if !ok {
			_ = conn.Close()
			continue
		}
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		if down {
			reset(client)
			continue
		}
		p.work.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(p.ctx, "tcp4", p.target)
	if err != nil {
		reset(client)
		return
	}
	server, ok := conn.(*net.TCPConn)
	if !ok {
		reset(client)
		_ = conn.Close()
		return
	}
	l := &link{proxy: p, client: client, server: server, ended: make(chan struct{}), statements: map[string]string{}}
	p.mu.Lock()
	if p.down { // meanwhile
		p.mu.Unlock()
		l.cut()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// reset ends a connection as a lost one ends: without a farewell, and with what was not read thrown away.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
