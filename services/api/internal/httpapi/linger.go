package httpapi

import (
	"io"
	"net"
	"time"
)

// lingering is a listener whose connections are closed gently. A body that is too large is answered before it has been
// read; closing at once would make the kernel reset the connection, and the client, still sending, would see a broken
// pipe instead of the 413 that tells it why.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &gentle{tcp}, nil
	}
	return conn, err
}

type gentle struct{ *net.TCPConn }

// How long, and for how many bytes, a client that is still sending is listened to.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 20
)

// Close says that nothing more will be sent and reads what is still coming, for a moment.
func (c *gentle) Close() error {
	if c.CloseWrite() != nil {
		return c.TCPConn.Close()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // on an error the read below ends at once, too
	_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes)
	return c.TCPConn.Close()
}
