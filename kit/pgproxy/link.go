package pgproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgproto3"
)

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	backend        *pgproto3.Backend  // speaks with the client
	frontend       *pgproto3.Frontend // speaks with the server
	names          map[string]string  // prepared statements by name; forward's
	fate           atomic.Pointer[trap]
	silent         atomic.Bool
}

func newLink(p *Proxy, client, server net.Conn) *link {
	return &link{
		proxy: p, client: client, server: server, names: map[string]string{},
		backend: pgproto3.NewBackend(client, client), frontend: pgproto3.NewFrontend(server, server),
	}
}

// run passes messages on until one side ends. Until the client is who it says, the two sides take turns; then each speaks when it likes.
func (l *link) run() {
	defer l.end()
	if !l.authenticate() {
		return
	}
	var directions sync.WaitGroup
	directions.Go(l.forward)
	directions.Go(l.backward)
	directions.Wait()
}

// end ends both directions when one has ended.
func (l *link) end() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// reset cuts the connection without a goodbye.
func (l *link) reset() {
	reset(l.client)
	reset(l.server)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // with what has not been read thrown away
	}
	_ = conn.Close()
}

// pass is false when nothing passes any more.
func (l *link) pass() bool {
	l.proxy.pass()
	if l.silent.Load() {
		<-l.proxy.ctx.Done()
		return false
	}
	return true
}

// linger makes a round trip take longer.
func (l *link) linger() {
	if d := time.Duration(l.proxy.delay.Load()); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.proxy.ctx.Done():
		}
	}
}

// authenticate is true when the session has begun.
func (l *link) authenticate() bool {
	for {
		message, err := l.backend.ReceiveStartupMessage()
		if err != nil || !l.pass() {
			return false
		}
		switch message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := l.client.Write([]byte{'N'}); err != nil { // what is encrypted cannot be understood
				return false
			}
			continue
		}
		l.frontend.Send(message)
		if l.frontend.Flush() != nil {
			return false
		}
		if _, cancel := message.(*pgproto3.CancelRequest); cancel {
			_, _ = l.server.Read(make([]byte, 1)) // the server closes it when it has done so
			return false
		}
		break
	}
	for {
		message, err := l.frontend.Receive()
		if err != nil || !l.pass() {
			return false
		}
		l.linger()
		l.backend.Send(message)
		if l.backend.Flush() != nil {
			return false
		}
		switch message.(type) {
		case *pgproto3.AuthenticationOk:
			return true
		case *pgproto3.AuthenticationSASLFinal, *pgproto3.NoticeResponse, *pgproto3.NegotiateProtocolVersion:
			continue
		case *pgproto3.ErrorResponse:
			return false
		}
		if l.backend.SetAuthType(l.frontend.GetAuthType()) != nil {
			return false
		}
		answer, err := l.backend.Receive()
		if err != nil || !l.pass() {
			return false
		}
		l.frontend.Send(answer)
		if l.frontend.Flush() != nil {
			return false
		}
	}
}

// forward passes the client's messages on, one at a time, and watches for the trap's statement.
func (l *link) forward() {
	defer l.end()
	var uncommitted *trap
	for {
		message, err := l.backend.Receive()
		if err != nil || !l.pass() {
			return
		}
		switch t := l.watch(message); {
		case t == nil:
		case t.fault == Unsent:
			l.proxy.spring(t, l.reset)
			return
		case t.fault == Uncommitted:
			uncommitted = t
		default:
			l.fate.Store(t)
		}
		if uncommitted != nil && commits(message) {
			l.proxy.spring(uncommitted, l.reset)
			return
		}
		l.frontend.Send(message)
		if l.frontend.Flush() != nil {
			return
		}
	}
}

// commits tells whether a message commits what came before it, or is a statement that commits itself.
func commits(message pgproto3.FrontendMessage) bool {
	switch message.(type) {
	case *pgproto3.Sync, *pgproto3.Query:
		return true
	}
	return false
}

// watch follows what the client asks for, and returns the trap that it has walked into.
func (l *link) watch(message pgproto3.FrontendMessage) *trap {
	switch m := message.(type) {
	case *pgproto3.Parse:
		l.names[m.Name] = m.Query
	case *pgproto3.Sync: // the end of a round trip in the extended protocol
		l.proxy.requests.Add(1)
	case *pgproto3.Query:
		l.proxy.requests.Add(1)
		return l.proxy.trapped(m.String)
	case *pgproto3.Bind:
		return l.proxy.trapped(l.names[m.PreparedStatement])
	}
	return nil
}

// diskFull is what a server in German says when it cannot write its log.
var diskFull = &pgproto3.ErrorResponse{
	Severity: "PANIK", SeverityUnlocalized: "PANIC", Code: pgerrcode.DiskFull,
	Message: "konnte nicht in Datei »pg_wal/xlogtemp.1« schreiben: Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
}

// backward passes the server's messages on, unless there is a trap to spring.
func (l *link) backward() {
	defer l.end()
	for {
		message, err := l.frontend.Receive()
		if err != nil || !l.pass() {
			return
		}
		_, complete := message.(*pgproto3.ReadyForQuery) // the statement has run to its end
		if complete {
			l.linger()
		}
		if t := l.fate.Load(); t != nil {
			switch {
			case t.fault == Unanswered && complete:
				l.proxy.spring(t, l.reset)
				return
			case t.fault == Unanswered:
				continue
			case t.fault == Unfinished && complete:
				_ = l.backend.Flush()    // what is left of the reply
				l.proxy.spring(t, l.end) // a reset would take what was sent along
				return
			case t.fault == Panicked && complete:
				l.backend.Send(diskFull)
				_ = l.backend.Flush()
				l.proxy.spring(t, l.end)
				return
			case t.fault == Held && complete:
				l.fate.Store(nil)
				l.proxy.spring(t, func() {})
				<-l.proxy.held
			}
		}
		l.backend.Send(message)
		if complete || l.frontend.ReadBufferLen() == 0 {
			if l.backend.Flush() != nil {
				return
			}
		}
	}
}
