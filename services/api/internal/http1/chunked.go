package http1

import "bytes"

// maxChunkLine is what a chunk's size may take with its extensions, which are read over.
const maxChunkLine = 256

// readChunks reads a body that comes in chunks to its end, the trailers included, and returns it in one piece.
func (c *Conn) readChunks(limit int64) ([]byte, error) {
	var body []byte
	for {
		line, err := c.readLine(maxChunkLine, errChunk)
		if err != nil {
			return nil, err
		}
		size, refusal := chunkSize(line)
		if refusal != nil {
			return nil, refusal
		}
		if size == 0 {
			return body, c.readTrailers()
		}
		if size > limit-int64(len(body)) {
			return nil, errBodyTooLong
		}
		for size > 0 {
			if c.r == c.w {
				if err := c.fill(); err != nil {
					return nil, err
				}
			}
			n := int(min(size, int64(c.w-c.r)))
			body = append(body, c.buf[c.r:c.r+n]...)
			c.r += n
			size -= int64(n)
		}
		if _, err := c.readLine(len(crlf), errChunk); err != nil { // the chunk's end, and nothing else
			return nil, err
		}
	}
}

var errChunk = malformed("a chunk is not one, or not as long as its size")

// chunkSize reads a chunk's first line: the size, and extensions behind a semicolon.
func chunkSize(line []byte) (int64, *RefusedError) {
	digits, extension, extended := bytes.Cut(line, []byte(";"))
	if extended {
		digits = bytes.TrimRight(digits, " \t") // the RFC has white space there, and calls it bad
	}
	if len(digits) == 0 || len(digits) > 8 {
		return 0, errChunk
	}
	size := int64(0)
	for _, b := range digits {
		switch {
		case digit(b):
			size = size<<4 | int64(b-'0')
		case b >= 'a' && b <= 'f':
			size = size<<4 | int64(b-'a'+10)
		case b >= 'A' && b <= 'F':
			size = size<<4 | int64(b-'A'+10)
		default:
			return 0, errChunk
		}
	}
	for _, b := range extension {
		if b < ' ' && b != '\t' || b == 0x7f {
			return 0, errChunk
		}
	}
	return size, nil
}

// readTrailers reads the fields behind the last chunk. They mean nothing here; what a client could believe to mean something, a
// key above all, is refused: who sends one counts on it.
func (c *Conn) readTrailers() error {
	for left := c.cfg.MaxHead; ; {
		line, err := c.readLine(left, errHeadTooLong)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		left -= len(line) + len(crlf)
		name, _, refusal := field(line)
		if refusal != nil {
			return refusal
		}
		for _, header := range notInTrailers {
			if is(name, header) {
				return malformed(header + " must stand in the head, not behind the body")
			}
		}
	}
}

var notInTrailers = []string{
	"Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie", "Expect", "Host",
	"Idempotency-Key", "Keep-Alive", "TE", "Traceparent", "Trailer", "Transfer-Encoding", "Upgrade",
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
