package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A body that is too large is answered before it has been read. Closing the connection at once would make the kernel reset
// it, and the client, still sending, would see a broken pipe instead of the 413 that tells it why. So what it is still
// sending is read, for a moment, before such a connection is closed. Others are closed as ever: most clients do not
// look at an idle connection, and waiting for them would hold up the shutdown.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 20
)

// lingering is a listener whose connections can be made to end so.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &gentle{TCPConn: tcp}, nil
	}
	return conn, err
}

type gentle struct {
	*net.TCPConn
	linger atomic.Bool
}

// linger makes a request's connection end gently.
func linger(conn net.Conn) {
	if g, ok := conn.(*gentle); ok {
		g.linger.Store(true)
	}
}

// Close closes, or says that nothing more will be sent and reads before it does.
func (c *gentle) Close() error {
	if c.linger.Load() && c.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // on an error the read below ends at once, too
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes)
	}
	return c.TCPConn.Close()
}
