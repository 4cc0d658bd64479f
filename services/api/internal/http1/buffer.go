package http1

import (
	"bytes"
	"time"
)

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
