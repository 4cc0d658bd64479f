package testdb

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between a program and PostgreSQL and does what networks do.
type Proxy struct {
	URL string // of the database, by way of the proxy

	listener net.Listener
	upstream string
	done     sync.WaitGroup

	mu     sync.Mutex
	pairs  map[*pair]struct{}
	refuse bool
	gate   chan struct{} // while not nil, nothing passes until it is closed
	reply  func(conn net.Conn, chunk []byte) []byte
}

type pair struct{ client, server net.Conn }

// NewProxy makes a proxy in front of a database's server.
func NewProxy(tb testing.TB, database string) *Proxy {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: ln, upstream: u.Host, pairs: make(map[*pair]struct{})}
	u.Host = ln.Addr().String()
	p.URL = u.String()
	p.done.Go(p.accept)
	tb.Cleanup(func() {
		_ = ln.Close()
		p.Resume()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		_ = c.client.Close()
		_ = c.server.Close()
	}
}

// Refuse closes all connections, and new ones at once, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.Cut()
}

// Accept ends Refuse.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// Pause lets nothing pass, in either direction and on new connections too, as a hung server or a network without answers.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		p.gate = make(chan struct{})
	}
}

// Resume lets pass what was held up.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
}

// Reply hands everything that the server answers to f, which returns what is to go on; nil ends it.
func (p *Proxy) Reply(f func(conn net.Conn, chunk []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply = f
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			_ = client.Close()
			continue
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &pair{client, server}
		p.mu.Lock()
		p.pairs[c] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { p.copy(c, c.server, c.client, false) })
			both.Go(func() { p.copy(c, c.client, c.server, true) })
			both.Wait()
			p.mu.Lock()
			delete(p.pairs, c)
			p.mu.Unlock()
		})
	}
}

func (p *Proxy) copy(c *pair, to io.Writer, from io.Reader, reply bool) {
	defer func() { _, _ = c.client.Close(), c.server.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		gate, change := p.gate, p.reply
		p.mu.Unlock()
		if gate != nil {
			<-gate
		}
		chunk := buffer[:n]
		if reply && change != nil {
			chunk = change(c.client, chunk)
		}
		if _, err := to.Write(chunk); err != nil {
			return
		}
	}
}
