// Package cut owns a TCP proxy that understands as much of Postgres' protocol as it takes to break a connection at a chosen
// moment: before a statement arrives, after it has run but before its reply is seen, or never answering at all. It must never be
// imported by anything but tests.
package cut

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Fault is what happens to the connection on which a chosen statement is sent.
type Fault int

const (
	// Unsent cuts the connection before the statement reaches the server.
	Unsent Fault = iota
	// Unanswered lets the server run the statement to its end, then cuts the connection without passing the reply on.
	Unanswered
	// Held lets the server run the statement, and keeps the reply back until Release.
	Held
)

// Proxy forwards to one server. Its connections can be broken in several ways.
type Proxy struct {
	Address string

	target   string
	listener net.Listener
	running  sync.WaitGroup
	requests atomic.Int64

	mu       sync.Mutex
	pipes    map[*pipe]struct{}
	refusing bool
	frozen   chan struct{} // not nil: nothing is forwarded until it is closed
	over     chan struct{} // closed at the end of the test
	held     chan struct{} // closed by Release
	trap     *trap
}

// trap is one armed fault.
type trap struct {
	statement string
	fault     Fault
	sprung    chan struct{}
}

// New starts a proxy to target (host:port) that ends with the test.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's listener lives as long as the test
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{
		Address: listener.Addr().String(), target: target, listener: listener,
		pipes: map[*pipe]struct{}{}, held: make(chan struct{}), over: make(chan struct{}),
	}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		close(p.over)
		p.Thaw()
		p.Release()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Trap arms fault for the next statement whose text begins with statement; what is returned is closed when that has happened.
func (p *Proxy) Trap(statement string, fault Fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = &trap{statement: statement, fault: fault, sprung: make(chan struct{})}
	return p.trap.sprung
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
	for pipe := range p.pipes {
		pipe.reset()
	}
}

// Refuse makes new connections fail, or work again.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = on
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
	for pipe := range p.pipes {
		pipe.silent.Store(true)
	}
}

// Requests is how many round trips clients have asked for.
func (p *Proxy) Requests() int64 { return p.requests.Load() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target) //nolint:noctx // loopback
		if err != nil {
			_ = client.Close()
			continue
		}
		pipe := &pipe{proxy: p, client: client.(*net.TCPConn), server: server.(*net.TCPConn), names: map[string]string{}}
		if !p.take(pipe) {
			_, _ = client.Close(), server.Close()
			continue
		}
		var directions sync.WaitGroup
		directions.Go(pipe.forward)
		directions.Go(pipe.backward)
		p.running.Go(func() {
			directions.Wait()
			p.mu.Lock()
			delete(p.pipes, pipe)
			p.mu.Unlock()
		})
	}
}

// take takes a connection on, unless new ones are refused: asked and done at once, so that a Cut after Refuse leaves none.
func (p *Proxy) take(pipe *pipe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return false
	}
	p.pipes[pipe] = struct{}{}
	return true
}

func (p *Proxy) waitWhileFrozen() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// spring returns the armed trap if statement is what it waits for, and disarms it.
func (p *Proxy) spring(statement string) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trap == nil || !strings.HasPrefix(statement, p.trap.statement) {
		return nil
	}
	sprung := p.trap
	p.trap = nil
	return sprung
}

// pipe is one connection through the proxy.
type pipe struct {
	proxy          *Proxy
	client, server *net.TCPConn
	names          map[string]string // prepared statements by name; forward's
	fate           atomic.Pointer[trap]
	silent         atomic.Bool
}

func (c *pipe) reset() {
	for _, conn := range []*net.TCPConn{c.client, c.server} {
		_ = conn.SetLinger(0) // a reset, not a goodbye
		_ = conn.Close()
	}
}

// forward passes the client's messages on, one at a time, and watches for the trap's statement.
func (c *pipe) forward() {
	defer c.end()
	for first := true; ; first = false {
		kind, text, ok := c.read(c.client, !first)
		if !ok {
			return
		}
		if t := c.watch(kind, text[headerLength(!first):]); t != nil {
			if t.fault == Unsent {
				c.reset()
				close(t.sprung)
				return
			}
			c.fate.Store(t)
		}
		if _, err := c.server.Write(text); err != nil {
			return
		}
	}
}

// watch follows what the client asks for, and returns the trap if it sprang.
func (c *pipe) watch(kind byte, body []byte) *trap {
	switch kind {
	case 'P': // Parse: name, text
		name, rest, _ := strings.Cut(string(body), "\x00")
		c.names[name], _, _ = strings.Cut(rest, "\x00")
	case 'S': // Sync: the end of a round trip in the extended protocol
		c.proxy.requests.Add(1)
	case 'Q': // Query: text
		c.proxy.requests.Add(1)
		return c.proxy.spring(string(body))
	case 'B': // Bind: portal, name
		_, rest, _ := strings.Cut(string(body), "\x00")
		name, _, _ := strings.Cut(rest, "\x00")
		return c.proxy.spring(c.names[name])
	}
	return nil
}

// backward passes the server's messages on, unless a trap has sprung.
func (c *pipe) backward() {
	defer c.end()
	for {
		kind, text, ok := c.read(c.server, true)
		if !ok {
			return
		}
		t, complete := c.fate.Load(), kind == 'Z' // ReadyForQuery: the statement has run to its end
		switch {
		case t != nil && t.fault == Unanswered && complete:
			c.reset()
			close(t.sprung)
			return
		case t != nil && t.fault == Unanswered:
			continue
		case t != nil && t.fault == Held && complete:
			c.fate.Store(nil)
			close(t.sprung)
			<-c.proxy.held
		}
		if _, err := c.client.Write(text); err != nil {
			return
		}
	}
}

// end ends both directions when one has ended.
func (c *pipe) end() {
	_ = c.client.Close()
	_ = c.server.Close()
}

func headerLength(kinded bool) int {
	if kinded {
		return 5
	}
	return 4
}

// read reads one message, header included. A kinded message begins with a byte that tells its type; only a client's first
// one has none.
func (c *pipe) read(from net.Conn, kinded bool) (kind byte, text []byte, ok bool) {
	length := headerLength(kinded)
	header := make([]byte, length)
	if _, err := io.ReadFull(from, header); err != nil {
		return 0, nil, false
	}
	text = make([]byte, length+max(int(binary.BigEndian.Uint32(header[length-4:]))-4, 0))
	copy(text, header)
	if _, err := io.ReadFull(from, text[length:]); err != nil {
		return 0, nil, false
	}
	c.proxy.waitWhileFrozen()
	if c.silent.Load() {
		<-c.proxy.over
		return 0, nil, false
	}
	if kinded {
		kind = header[0]
	}
	return kind, text, true
}
