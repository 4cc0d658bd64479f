// Package http1 stands between the clients' connections and the HTTP server. It reads each request off its connection by the
// letter of RFC 9112, hands on one request at a time, to its end and not a byte further, and refuses the rest. So whatever the
// server behind makes of a request, it cannot take a part of one for another.
//
// What is hostile costs little here: an idle connection has a small buffer, a large body needs room in a budget before it is
// read, and every wait for the client has its deadline.
//
// It must never hand on a request that it has not understood as a whole, nor anything that follows a refused one.
package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"orderflow.example/kit/listen"
)

// Config is what all connections have in common.
type Config struct {
	MaxHead int                               // bytes of a request's head
	Limit   func(method, target []byte) int64 // bytes of a request's body
	Free    int64                             // bytes of a body that need no room in the budget
	// Known tells whether the sender of a request may have room in the budget; authorization is the value of that field, nil when it
	// is not given once. Who is not known is refused before his body is read.
	Known  func(method, target, authorization []byte) bool
	Budget *Budget

	// How long a client may take: to begin its next request, to send its head, and its body.
	IdleTimeout, HeadTimeout, BodyTimeout time.Duration
}

// Listener hands out connections that are read as the package says.
type Listener struct {
	*listen.Listener
	cfg *Config
}

// What the kernel may keep of what a client sends, and does not read, in bytes. Its own choice would be megabytes. What it takes for
// them is twice as much, and counts towards the memory of a container, where the collector does not see it. A large batch still
// arrives in time over half the world: a round trip brings 16 KiB.
const (
	receiveBuffer = 16 << 10
	sendBuffer    = 12 << 10
	socket        = 4 << 10 // what belongs to a connection itself

	// While a large answer is sent, which would take forty times as long otherwise. It has room in the budget.
	answerBuffer = 64 << 10
)

// KernelMemory is what one connection takes of the kernel's memory at its worst, in bytes.
const KernelMemory = 2*(receiveBuffer+sendBuffer) + socket

// NewListener wraps a listener. From now on its connections have small buffers: from their first packet, so that no client sends
// more than there is room for.
func NewListener(ln *listen.Listener, cfg *Config) (*Listener, error) {
	if err := ln.SetBuffers(receiveBuffer, sendBuffer); err != nil {
		return nil, err
	}
	return &Listener{ln, cfg}, nil
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	client, ok := conn.(*listen.Conn)
	if !ok {
		return nil, errors.New("the listener's connections are not its own")
	}
	c := &Conn{Conn: client, client: client, cfg: l.cfg}
	c.buf = c.small[:]
	return c, nil
}

// Conn is a client's connection as the server sees it. One goroutine reads and writes it; Close is for any.
type Conn struct {
	net.Conn // the client's
	client   *listen.Conn
	cfg      *Config

	buf   []byte // [r:w] was read and is not used yet
	r, w  int
	small [1 << 10]byte // buf, as long as it suffices: most requests are smaller

	// Of the request that is being read.
	out     []byte   // may be read by the server
	left    int64    // bytes of the body that come after that
	chunks  *chunked // its body is still to be put together
	expects bool     // the client waits for word that it may send its body
	handed  bool     // it is the server's, who has not begun to work on it
	begun   bool     // the server works on it, or has
	served  bool     // there was one before
	refusal *RefusedError
	answer  int64 // bytes that are reserved for its answer

	lingers atomic.Bool
}

// chunked is a request whose body comes in chunks.
type chunked struct {
	head  head
	raw   []byte
	limit int64
}

// ErrOutOfStep is when the server asks for more than its request has, or takes something else for one.
var ErrOutOfStep = errors.New("the server and the connection do not mean the same request")

// Read gives the server its request, and the next one only after [Conn.Begin].
func (c *Conn) Read(p []byte) (int, error) {
	for {
		switch {
		case c.begun && (len(c.out) > 0 || c.left > 0 || c.chunks != nil):
			return 0, io.EOF // the body was not read to its end: what is left of it is not the next request
		case len(c.out) > 0:
			n := copy(p, c.out)
			c.out = c.out[n:]
			return n, nil
		case c.refusal != nil:
			return 0, c.refusal
		case c.chunks != nil:
			if err := c.join(); err != nil {
				return 0, c.failed(err)
			}
		case c.left > 0:
			n, err := c.body(p)
			if err != nil {
				return 0, c.failed(err)
			}
			return n, nil
		case c.handed:
			return 0, ErrOutOfStep
		default:
			if err := c.next(); err != nil {
				return 0, err
			}
		}
	}
}

// Begin tells that the server begins to work on a request. An error: it must not be answered; it is none that was handed on
// ([ErrOutOfStep]), or the connection is gone.
func (c *Conn) Begin() error {
	handed := c.handed
	c.handed, c.begun = false, true
	switch {
	case !handed:
		return ErrOutOfStep
	case !c.client.Busy():
		return net.ErrClosed
	}
	return nil
}

// Refusal is why what the server last tried to read is no request, nil when that had another reason.
func (c *Conn) Refusal() *RefusedError { return c.refusal }

// Reserve makes room for the body of an answer, and says whether there is any. The room lasts until the answer is sent.
func (c *Conn) Reserve(size int) bool {
	more := int64(size) - c.answer
	if int64(size) <= c.cfg.Free || more <= 0 {
		return true
	}
	if c.answer == 0 {
		more += 2 * answerBuffer
	}
	if !c.cfg.Budget.take(c, more) {
		return false
	}
	c.answer = int64(size)
	c.setSendBuffer(answerBuffer)
	return true
}

// setSendBuffer changes what the kernel takes of an answer at once. Where it cannot be changed, nothing but time is lost.
func (c *Conn) setSendBuffer(size int) {
	if tcp, ok := c.client.Conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(size)
	}
}

// next reads the next request's head, and decides about it.
func (c *Conn) next() error {
	c.cfg.Budget.release(c)
	if c.answer > 0 {
		c.setSendBuffer(sendBuffer)
	}
	c.begun, c.answer = false, 0
	c.compact()
	if c.served && !c.client.Idle() {
		return net.ErrClosed
	}
	if c.r == c.w {
		wait := c.cfg.IdleTimeout
		if !c.served {
			wait = c.cfg.HeadTimeout
		}
		if err := c.client.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			return io.EOF // nobody asks anything
		}
	}
	if c.served && !c.client.Waiting() {
		return net.ErrClosed
	}
	raw, err := c.head()
	if err != nil && c.r == c.w {
		return io.EOF // empty lines, and then nothing
	} else if err != nil {
		return c.refused(err)
	}
	h, refusal := parseHead(raw)
	if refusal == nil {
		refusal = c.accept(&h, raw)
	}
	if refusal != nil {
		return c.refused(refusal)
	}
	c.handed, c.served = true, true
	return nil
}

// accept makes a request ready to be read by the server.
func (c *Conn) accept(h *head, raw []byte) *RefusedError {
	limit := c.cfg.Limit(h.method, h.target)
	size := h.length
	if h.chunked {
		size = limit // there is no telling
	}
	if size > limit {
		return errBodyTooLong
	}
	if size > c.cfg.Free && !c.cfg.Known(h.method, h.target, h.authorization) {
		return errUnknown
	}
	if size > c.cfg.Free && !c.cfg.Budget.take(c, size) {
		return errNoRoom
	}
	c.expects = h.expects
	switch {
	case h.chunked:
		// One byte says that a request has begun; the rest comes with the body, whose length is then known.
		c.chunks = &chunked{head: *h, raw: bytes.Clone(raw), limit: limit}
		c.out = c.chunks.raw[:1]
		c.r += len(raw)
	case h.rewrite:
		c.out = h.appendRewritten(nil, raw, h.length)
		c.left = h.length
		c.r += len(raw)
	default:
		n := len(raw) + int(min(h.length, int64(c.w-c.r-len(raw))))
		c.out = c.buf[c.r : c.r+n]
		c.left = h.length - int64(n-len(raw))
		c.r += n
	}
	if h.chunked || c.left > int64(c.w-c.r) {
		if err := c.client.SetReadDeadline(time.Now().Add(c.cfg.BodyTimeout)); err != nil {
			return errBrokeOff
		}
	}
	return nil
}

// head waits for a whole head and returns it; it stays in the buffer.
func (c *Conn) head() ([]byte, error) {
	late := false
	for line, at := 0, 0; ; {
		for {
			end := bytes.IndexByte(c.buf[c.r+at:c.w], '\n')
			if end < 0 {
				at = c.w - c.r
				break
			}
			end += at
			if end == line || c.buf[c.r+end-1] != '\r' {
				return nil, malformed("a line does not end with CRLF")
			}
			at = end + 1
			switch {
			case end-1 > line:
				line = at
			case line > 0:
				return c.buf[c.r : c.r+at], nil
			default: // an empty line before a request is read over (RFC 9112, section 2.2)
				c.r += at
				at = 0
			}
		}
		if c.w-c.r >= c.cfg.MaxHead {
			return nil, errHeadTooLong
		}
		if !late {
			late = true
			if err := c.client.SetReadDeadline(time.Now().Add(c.cfg.HeadTimeout)); err != nil {
				return nil, err
			}
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// body reads from the body of a request that told its length.
func (c *Conn) body(p []byte) (int, error) {
	p = p[:min(int64(len(p)), c.left)]
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		c.left -= int64(n)
		return n, nil
	}
	if err := c.goOn(); err != nil {
		return 0, err
	}
	n, err := c.client.Read(p)
	c.left -= int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// join reads the body of a request that sends it in chunks, and hands on the request as if it had told the length.
func (c *Conn) join() error {
	if c.r == c.w {
		if err := c.goOn(); err != nil {
			return err
		}
	}
	body, err := c.readChunks(c.chunks.limit)
	if err != nil {
		return err
	}
	whole := c.chunks.head.appendRewritten(make([]byte, 0, len(c.chunks.raw)+32+len(body)), c.chunks.raw, int64(len(body)))
	c.out = append(whole, body...)[1:]
	c.chunks = nil
	return nil
}

// goOn tells a client that waits for it that it may send the body.
func (c *Conn) goOn() error {
	if !c.expects {
		return nil
	}
	c.expects = false
	_, err := io.WriteString(c.client, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// readLine reads a line and returns it without its end.
func (c *Conn) readLine(longest int, tooLong *RefusedError) ([]byte, error) {
	for at := 0; ; {
		if end := bytes.IndexByte(c.buf[c.r+at:c.w], '\n'); end >= 0 {
			line := c.buf[c.r : c.r+at+end]
			if len(line)+1 > longest {
				return nil, tooLong
			}
			if len(line) == 0 || line[len(line)-1] != '\r' {
				return nil, malformed("a line does not end with CRLF")
			}
			c.r += len(line) + 1
			return line[:len(line)-1], nil
		}
		at = c.w - c.r
		if at >= longest {
			return nil, tooLong
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more into the buffer, which it makes larger when it is full, up to the longest head.
func (c *Conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		buf := c.buf
		if c.r == 0 {
			buf = make([]byte, min(4*len(c.buf), max(c.cfg.MaxHead, len(c.buf)+1)))
		}
		c.w = copy(buf, c.buf[c.r:c.w])
		c.r, c.buf = 0, buf
	}
	n, err := c.client.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// compact moves what is left in the buffer, the beginning of the next request, to its front, and to the small one if it can.
func (c *Conn) compact() {
	buf := c.buf
	if c.w-c.r <= len(c.small) {
		buf = c.small[:]
	}
	c.w = copy(buf, c.buf[c.r:c.w])
	c.r, c.buf = 0, buf
	c.out = nil
}

// refused makes the server see a request that has begun and cannot be read: so it answers.
func (c *Conn) refused(err error) error {
	if err := c.failed(err); c.refusal == nil {
		return err
	}
	c.out = []byte("G")
	return nil
}

// failed turns what went wrong into a refusal, unless the connection is gone. What follows is not read any more.
func (c *Conn) failed(err error) error {
	var refusal *RefusedError
	switch {
	case errors.As(err, &refusal):
		c.refusal = refusal
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refusal = errTooSlow
	default:
		c.refusal = errBrokeOff
	}
	c.left, c.chunks = 0, nil
	c.lingers.Store(true)
	return c.refusal
}

// Write sends an answer. Meanwhile the client is the one who is waited for.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.client.Waiting() {
		return 0, net.ErrClosed
	}
	n, err := c.client.Write(p)
	c.client.Busy()
	return n, err
}

// What a client is still sending when it has been refused is read for a moment: closing at once would reset the connection, and
// the client would see that instead of the answer that tells it why.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 20
)

// Close closes, or says that nothing more will be sent and reads before it does.
func (c *Conn) Close() error {
	c.cfg.Budget.release(c)
	if c.lingers.Swap(false) && c.client.Waiting() && c.client.CloseWrite() == nil {
		_ = c.client.SetReadDeadline(time.Now().Add(lingerTime)) // on an error the read below ends at once, too
		for n := 0; n < lingerBytes; {
			more, err := c.client.Read(c.small[:])
			if err != nil {
				break
			}
			n += more
		}
	}
	return c.client.Close()
}
