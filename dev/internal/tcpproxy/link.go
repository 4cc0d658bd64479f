package tcpproxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// link is one proxied connection.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	once           sync.Once
	ended          chan struct{}

	// Only the goroutine that reads from the client uses these.
	statements map[string]string // prepared statements by name
	sprung     *Trap             // the trap that this connection is in

	mu     sync.Mutex
	losing bool // replies are no longer passed on, and the next end of a transaction cuts
}

// maxMessage bounds a message of the protocol: far more than any that the services send.
const maxMessage = 64 << 20

func (l *link) cut() {
	l.once.Do(func() {
		close(l.ended)
		reset(l.client)
		reset(l.server)
	})
}

// run passes messages on until either side is gone.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(func() {
		defer l.cut()
		_ = l.fromClient() // however it ends, the link ends
	})
	both.Go(func() {
		defer l.cut()
		_ = l.fromServer()
	})
	both.Wait()
}

// message is one message of the protocol: its type (0 before the session has begun) and all of its bytes.
type message struct {
	kind byte
	raw  []byte
}

func (m message) body() []byte {
	if m.kind == 0 {
		return m.raw[4:]
	}
	return m.raw[5:]
}

func readMessage(r io.Reader, typed bool) (message, error) {
	head := 4
	if typed {
		head = 5
	}
	raw := make([]byte, head)
	if _, err := io.ReadFull(r, raw); err != nil {
		return message{}, err
	}
	length := int(binary.BigEndian.Uint32(raw[head-4:]))
	if length < 4 || length > maxMessage {
		return message{}, fmt.Errorf("a message of %d bytes", length)
	}
	m := message{raw: append(raw, make([]byte, length-4)...)}
	if typed {
		m.kind = raw[0]
	}
	_, err := io.ReadFull(r, m.raw[head:])
	return m, err
}

// Codes of the messages before a session begins.
const (
	codeSSL    = 80877103
	codeGSS    = 80877104
	codeCancel = 80877102
)

func (l *link) fromClient() error {
	for begun := false; ; {
		m, err := readMessage(l.client, begun)
		if err != nil {
			return err
		}
		if !l.proxy.gate(l) {
			return net.ErrClosed
		}
		if !begun {
			if len(m.body()) < 4 {
				return fmt.Errorf("a first message of %d bytes", len(m.raw))
			}
			switch code := binary.BigEndian.Uint32(m.body()); code {
			case codeSSL, codeGSS: // encryption would blind us: the answer of a server that has none
				if _, err := l.client.Write([]byte("N")); err != nil {
					return err
				}
				continue
			case codeCancel: // nothing follows
			default:
				begun = true
			}
		} else if l.watch(m) {
			l.proxy.countSprung()
			return net.ErrClosed
		}
		if _, err := l.server.Write(m.raw); err != nil {
			return err
		}
	}
}

// watch follows the statements of a client and says whether the connection is to be cut instead of passing this message on.
func (l *link) watch(m message) (cut bool) {
	switch m.kind {
	case 'P': // Parse: name, statement
		name, rest, ok := bytes.Cut(m.body(), []byte{0})
		sql, _, ok2 := bytes.Cut(rest, []byte{0})
		if ok && ok2 {
			l.statements[string(name)] = string(sql)
		}
	case 'B': // Bind: portal, name of the statement
		_, rest, ok := bytes.Cut(m.body(), []byte{0})
		name, _, ok2 := bytes.Cut(rest, []byte{0})
		if ok && ok2 && l.sprung == nil {
			l.caught(l.proxy.spring(l.statements[string(name)]))
		}
	case 'Q': // a simple query: statement and commit in one message
		sql, _, _ := bytes.Cut(m.body(), []byte{0})
		if l.sprung == nil {
			l.caught(l.proxy.spring(string(sql)))
		}
		return l.sprung != nil && l.sprung.When == MidTransaction
	case 'S': // Sync commits what came before it
		return l.sprung != nil && l.sprung.When == MidTransaction
	}
	return false
}

func (l *link) caught(trap *Trap) {
	if trap == nil {
		return
	}
	l.sprung = trap
	if trap.When == ReplyLost {
		l.mu.Lock()
		l.losing = true
		l.mu.Unlock()
	}
}

func (l *link) fromServer() error {
	for {
		m, err := readMessage(l.server, true)
		if err != nil {
			return err
		}
		l.mu.Lock()
		losing := l.losing
		l.mu.Unlock()
		if losing {
			// ReadyForQuery with state I: no transaction is open, so what was executed is committed.
			if m.kind == 'Z' && string(m.body()) == "I" {
				l.proxy.countSprung()
				return nil
			}
			continue
		}
		if !l.proxy.gate(l) {
			return net.ErrClosed
		}
		if _, err := l.client.Write(m.raw); err != nil {
			return err
		}
	}
}
