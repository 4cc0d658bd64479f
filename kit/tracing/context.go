package tracing

import (
	"encoding/hex"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// form is W3C's traceparent: version, trace, parent, flags (https://www.w3.org/TR/trace-context/).
const form = "00-00000000000000000000000000000000-0000000000000000-00"

// Parse reads a traceparent: one of version 00, or the beginning of one of a later version. What is none gives no valid context.
func Parse[Text string | []byte](header Text) (c trace.SpanContext) {
	if len(header) < len(form) || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return c
	}
	version := [2]byte{header[0], header[1]}
	if version == [2]byte{'f', 'f'} || version == [2]byte{'0', '0'} && len(header) != len(form) || len(header) > len(form) && header[len(form)] != '-' {
		return c
	}
	var (
		id    [1 + 16 + 8 + 1]byte
		given [2 * len(id)]byte
	)
	at := copy(given[:], header[:2])
	at += copy(given[at:], header[3:35])
	at += copy(given[at:], header[36:52])
	copy(given[at:], header[53:55])
	for _, digit := range given {
		if digit >= 'A' && digit <= 'F' {
			return c // the standard has lower case
		}
	}
	if _, err := hex.Decode(id[:], given[:]); err != nil {
		return c
	}
	// Of the flags only "sampled" has a meaning that may be handed on.
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(id[1:17]), SpanID: trace.SpanID(id[17:25]), TraceFlags: trace.TraceFlags(id[25]) & trace.FlagsSampled, Remote: true,
	})
}

// Format writes a traceparent.
func Format(c trace.SpanContext) string {
	text := []byte(form)
	traceID, spanID := c.TraceID(), c.SpanID()
	hex.Encode(text[3:35], traceID[:])
	hex.Encode(text[36:52], spanID[:])
	text[54] = '0' + byte(c.TraceFlags()&trace.FlagsSampled)
	return string(text)
}

// Unsampled is the traceparent of a new trace that nobody records.
func Unsampled() string { return Format(unrecorded(trace.TraceID{})) }

// unrecorded is a place in a trace that nobody records, of a new trace if traceID is zero.
func unrecorded(traceID trace.TraceID) trace.SpanContext {
	if !traceID.IsValid() {
		traceID = newTraceID()
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: newSpanID()})
}

func newTraceID() (id trace.TraceID) {
	one, two := newSpanID(), newSpanID()
	copy(id[:8], one[:])
	copy(id[8:], two[:])
	return id
}

// newSpanID never returns zeros, which would be invalid.
func newSpanID() (id trace.SpanID) {
	n := rand.Uint64() | 1
	for i := range id {
		id[i] = byte(n >> (56 - 8*i)) //nolint:gosec // one byte at a time
	}
	return id
}
