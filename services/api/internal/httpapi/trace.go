package httpapi

import (
	"encoding/hex"
	"math/rand/v2"

	"github.com/gofiber/fiber/v2"
)

// trace is a request's place in a distributed trace (W3C Trace Context). The API is a span of its own: what it hands on
// bears the caller's trace id and a span id of its own.
type trace struct{ parent string }

// traceKey is where a request's trace is kept once it was asked for.
const traceKey = "trace"

// traceOf continues the trace of the request's traceparent header, or begins one.
func traceOf(c *fiber.Ctx) trace {
	if t, ok := c.Locals(traceKey).(trace); ok {
		return t
	}
	t := newTrace(c.Request().Header.Peek("traceparent"))
	c.Locals(traceKey, t)
	return t
}

// traceparent returns the header to hand on.
func (t trace) traceparent() string { return t.parent }

// id is the trace id.
func (t trace) id() string { return t.parent[3:35] }

const parentSize = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

func newTrace(header []byte) trace {
	out := make([]byte, parentSize)
	copy(out, "00-00000000000000000000000000000000-0000000000000000-00")
	if validParent(header) {
		copy(out[3:35], header[3:35])
		// Of the flags only "sampled" has a meaning that may be handed on.
		out[54] = '0' + unhex(header[54])&1
	} else {
		putHex(out[3:19])
		putHex(out[19:35])
	}
	putHex(out[36:52])
	return trace{string(out)}
}

// putHex fills 16 digits; an all-zero id would be invalid.
func putHex(out []byte) {
	n := rand.Uint64() | 1
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(n >> (56 - 8*i))
	}
	hex.Encode(out, raw[:])
}

// validParent checks a header of version 00, or the beginning of one of a later version.
func validParent(h []byte) bool {
	if len(h) < parentSize || h[2] != '-' || h[35] != '-' || h[52] != '-' {
		return false
	}
	version := string(h[:2])
	if version == "ff" || version == "00" && len(h) != parentSize || len(h) > parentSize && h[parentSize] != '-' {
		return false
	}
	return lowerHex(h[:2]) && lowerHex(h[53:55]) && lowerHex(h[3:35]) && lowerHex(h[36:52]) && !zeros(h[3:35]) && !zeros(h[36:52])
}

func lowerHex(digits []byte) bool {
	for _, d := range digits {
		if (d < '0' || d > '9') && (d < 'a' || d > 'f') {
			return false
		}
	}
	return true
}

func zeros(digits []byte) bool {
	for _, d := range digits {
		if d != '0' {
			return false
		}
	}
	return true
}

func unhex(d byte) byte {
	if d >= 'a' {
		return d - 'a' + 10
	}
	return d - '0'
}
