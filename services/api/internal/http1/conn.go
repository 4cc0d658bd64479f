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
	stage   stage
	refusal *RefusedError
	answer  int64 // bytes that are reserved for its answer
	streams bool  // its answer is one that does not end by itself: see Stream

	lingers atomic.Bool
}

// stage is how far the server is with the requests of a connection. It has one after the other, and the next one only when it has begun to
// work on the one before.
type stage byte

const (
	first    stage = iota // the first one has not been read yet
	handedOn              // one has been handed on: the server reads it, and has not begun to work on it
	begun                 // the server works on it, or has
	next                  // the next one has not been read yet
)

// chunked is a request whose body comes in chunks.
type chunked struct {
	head  head
	raw   []byte
	limit int64
}

// ErrOutOfStep is when the server asks for more than its request has, or takes something else for one.
var ErrOutOfStep = errors.New("the HTTP parser and the framing disagree about where the request ends")

// Read gives the server its request, and the next one only after [Conn.Begin].
func (c *Conn) Read(p []byte) (int, error) {
	for {
		switch {
		case c.stage == begun && (len(c.out) > 0 || c.left > 0 || c.chunks != nil):
			return 0, io.EOF // the body was not read to its end: what is left of it is not the next request
		case len(c.out) > 0:
			n := copy(p, c.out)
			c.out = c.out[n:]
			return n, nil
		case c.refusal != nil:
			return 0, c.refusal
		case c.chunks != nil:
			if err := c.join(); err != nil {
				return 0, c.breakOff(err)
			}
		case c.left > 0:
			n, err := c.body(p)
			if err != nil {
				return 0, c.breakOff(err)
			}
			return n, nil
		case c.stage == handedOn:
			return 0, ErrOutOfStep
		default:
			if err := c.readRequest(); err != nil {
				return 0, err
			}
		}
	}
}

// Begin tells that the server begins to work on the request that it has read: from now on the connection is not closed to make room for
// others. An error means that the request must not be answered: it is none that was handed on ([ErrOutOfStep]), or the connection is gone.
func (c *Conn) Begin() error {
	was := c.stage
	c.stage = begun
	switch {
	case was != handedOn:
		return ErrOutOfStep
	case !c.client.Busy():
		return net.ErrClosed
	}
	return nil
}

// Stream says that the answer to this request is a stream, which goes on for as long as the client likes. Whoever writes it has to bound how
// many there are, and how long a client may take for what is written: so its connection is not closed for others.
func (c *Conn) Stream() { c.streams = true }

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

// readRequest reads a request's head, and hands the request on or refuses it.
func (c *Conn) readRequest() error {
	c.cfg.Budget.release(c)
	if c.answer > 0 {
		c.setSendBuffer(sendBuffer)
	}
	c.answer, c.streams = 0, false
	c.compact()
	if c.stage != first {
		c.stage = next
		if !c.client.Idle() {
			return net.ErrClosed
		}
	}
	if c.r == c.w {
		wait := c.cfg.IdleTimeout
		if c.stage == first {
			wait = c.cfg.HeadTimeout
		}
		if err := c.client.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			return io.EOF // no request has begun
		}
	}
	if c.stage == next && !c.client.Waiting() {
		return net.ErrClosed
	}
	raw, err := c.head()
	if err != nil && c.r == c.w {
		return io.EOF // empty lines, and then nothing
	} else if err != nil {
		return c.beginRefused(err)
	}
	h, refusal := parseHead(raw)
	if refusal == nil {
		refusal = c.accept(&h, raw)
	}
	if refusal != nil {
		return c.beginRefused(refusal)
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	c.stage = handedOn
	return nil
}

// speakTime is how long a client may take for what it is told before its request is answered: to go on, or that it is refused.
const speakTime = 10 * time.Second

// mayWrite gives the client time for what it may be told now. The deadline that the server has set for its last answer stands until it sets the
// next one. On a connection that has been idle since it is over, and whatever is written fails.
func (c *Conn) mayWrite() error { return c.client.SetWriteDeadline(time.Now().Add(speakTime)) }

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
	if size > c.cfg.Free && !c.cfg.Known(h.target, h.authorization) {
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

// beginRefused has the server answer a request whose head is refused. An error before the first byte the server takes for the end of a
// connection between two requests, and answers nothing. So it reads one byte, as if a request had begun, and then the refusal.
func (c *Conn) beginRefused(err error) error {
	if err := c.breakOff(err); c.refusal == nil {
		return err
	}
	c.out = []byte("G")
	return nil
}

// breakOff ends the reading of a request, and of all that follows it, and returns why: the refusal that is to be answered, or that the
// connection is gone.
func (c *Conn) breakOff(err error) error {
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
	_ = c.mayWrite() // again: what was read of the request may have taken long. On an error the refusal cannot be written, either
	return c.refusal
}

// Write sends an answer. Meanwhile the client is the one who is waited for.
func (c *Conn) Write(p []byte) (int, error) {
	if c.streams {
		return c.client.Write(p)
	}
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
