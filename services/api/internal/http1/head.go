package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// head is what a request's first line and fields say, as far as they say where it ends and who may read it how.
type head struct {
	method, target []byte
	authorization  []byte
	length         int64 // of the body; 0 when there is none, unknown when it comes in chunks
	chunked        bool
	expects        bool // 100-continue before it sends its body
	rewrite        bool // it has fields that the server behind must not see
	http10         bool
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

// parseHead reads a request's head, the empty line included, as RFC 9112 has it, and nothing that two programs might read in
// two ways: one line ending, no folded lines, one way to give the length, given once.
func parseHead(raw []byte) (head, *RefusedError) {
	var h head
	line, rest := cutLine(raw)
	if refusal := h.requestLine(line); refusal != nil {
		return h, refusal
	}
	var seen fields
	for line, rest = cutLine(rest); len(line) > 0; line, rest = cutLine(rest) {
		name, value, refusal := field(line)
		if refusal != nil {
			return h, refusal
		}
		if refusal := h.take(&seen, name, value); refusal != nil {
			return h, refusal
		}
	}
	switch {
	case seen.host == 0 && !h.http10:
		return h, malformed("there is no Host")
	case seen.coding > 0 && (seen.length > 0 || h.http10):
		return h, malformed("Transfer-Encoding does not go with Content-Length or HTTP/1.0")
	case seen.coding > 0 && !h.chunked:
		// RFC 9112 would have a 501 here, and a 505 for other versions: but whoever watches us must not be woken by what a client sends.
		return h, malformed("the only Transfer-Encoding is chunked")
	}
	return h, nil
}

// cutLine returns the first line without its end, which is CRLF: what is left of any other end makes the line malformed.
func cutLine(raw []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(raw, crlf)
	return line, rest
}

var crlf = []byte("\r\n")

// requestLine takes the first line apart.
func (h *head) requestLine(line []byte) *RefusedError {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(rest, []byte(" "))
	if !token(method) || !found {
		return malformed("the first line is not: method, target, version")
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.http10 = true
	default:
		return malformed("the first line is not: method, target, HTTP/1.1 or HTTP/1.0")
	}
	h.method, h.target = method, target
	return checkTarget(method, target)
}

// checkTarget takes a path, with a query or without, a URL of HTTP, and the asterisk of OPTIONS. What begins with two slashes is a path to
// some programs, and a host with a path behind it to others: one that publishes some paths only would be passed by.
func checkTarget(method, target []byte) *RefusedError {
	for _, b := range target {
		if b <= ' ' || b == 0x7f || b == '#' {
			return malformed("the target has characters that must be percent-encoded")
		}
	}
	if string(target) == "*" && string(method) == http.MethodOptions {
		return nil
	}
	if authority, ok := cutScheme(target); ok {
		if end := bytes.IndexAny(authority, "/?"); end >= 0 {
			authority = authority[:end]
		}
		if !host(authority) {
			return malformed("the target's host is not a host")
		}
		return nil
	}
	if len(target) == 0 || target[0] != '/' || bytes.HasPrefix(target, []byte("//")) {
		return malformed("the target is not a path that begins with one slash")
	}
	return nil
}

// cutScheme returns what follows http:// or https://.
func cutScheme(target []byte) (rest []byte, ok bool) {
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) >= len(scheme) && bytes.EqualFold(target[:len(scheme)], []byte(scheme)) {
			return target[len(scheme):], true
		}
	}
	return nil, false
}

// Path is a target's path: without a host and without the query. That of a URL may be left out; it is a slash then (RFC 9110, section 4.2.3).
func Path(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	if rest, ok := cutScheme(path); ok {
		slash := bytes.IndexByte(rest, '/')
		if slash < 0 {
			return []byte("/")
		}
		path = rest[slash:]
	}
	return path
}

// fields counts those that must be given once at most: which of two would count differs between programs.
type fields struct{ host, length, coding, kind, expect, authorization int }

func (h *head) take(seen *fields, name, value []byte) *RefusedError {
	var count *int
	switch {
	case is(name, "Host"):
		count = &seen.host
		if !host(value) {
			return malformed("Host is not a host")
		}
	case is(name, "Content-Length"):
		count = &seen.length
		length, ok := number(value)
		if !ok {
			return malformed("Content-Length is not a number")
		}
		h.length = length
	case is(name, "Transfer-Encoding"):
		count = &seen.coding
		h.chunked = is(value, "chunked")
		h.rewrite = true
	case is(name, "Trailer"):
		h.rewrite = true
		return nil
	case is(name, "Content-Type"):
		count = &seen.kind
	case is(name, "Authorization"):
		h.authorization = value
		if seen.authorization++; seen.authorization > 1 {
			h.authorization = nil // the server behind says what is wrong with that
		}
		return nil
	case is(name, "Expect"):
		count = &seen.expect
		if !is(value, "100-continue") {
			return refuse(http.StatusExpectationFailed, "the only expectation that can be met is 100-continue")
		}
		h.expects = !h.http10 // RFC 9110, section 10.1.1
		h.rewrite = true
	default:
		return nil
	}
	if *count++; *count > 1 {
		return malformed(string(name) + " is given more than once")
	}
	return nil
}

// appendRewritten appends the head with its body's length, and without the fields that are about how it was sent.
func (h *head) appendRewritten(to, raw []byte, length int64) []byte {
	line, rest := cutLine(raw)
	to = append(append(to, line...), crlf...)
	for line, rest = cutLine(rest); len(line) > 0; line, rest = cutLine(rest) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if is(name, "Transfer-Encoding") || is(name, "Trailer") || is(name, "Expect") || is(name, "Content-Length") {
			continue
		}
		to = append(append(to, line...), crlf...)
	}
	to = append(to, "Content-Length: "...)
	to = strconv.AppendInt(to, length, 10)
	return append(to, "\r\n\r\n"...)
}

// field takes a line apart. A line that begins with white space, a folded one, has no name.
func field(line []byte) (name, value []byte, refusal *RefusedError) {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || !token(name) {
		return nil, nil, malformed("a header's name is not one, or is not followed by a colon")
	}
	value = bytes.Trim(value, " \t")
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return nil, nil, malformed("a header has control characters")
		}
	}
	return name, value, nil
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// number reads 1*DIGIT of a size that memory could have.
func number(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, b := range value {
		if !digit(b) {
			return 0, false
		}
		n = 10*n + int64(b-'0')
	}
	return n, true
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

// token is RFC 9110's: what names, and methods, are made of.
func token(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

// host is a name or an address, and a port or none.
func host(b []byte) bool {
	for _, c := range b {
		if !hostBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

var (
	tokenBytes = set("!#$%&'*+-.^_`|~")
	hostBytes  = set("-._~%!$&'()*+;=:[]")
)

// set is letters, digits, and others.
func set(others string) (bytes [256]bool) {
	for c := '0'; c <= '9'; c++ {
		bytes[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		bytes[c], bytes[c-'a'+'A'] = true, true
	}
	for _, c := range others {
		bytes[c] = true
	}
	return bytes
}
