// Package message owns what a message of the queue means: its body, its headers, and how its attempts are counted. It must
// never fail on anything that a queue can hold: what is no order is a *Poison, with the reason that goes to the dead letters.
package message

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

// Header names that the consumer writes. All begin with Prefix, by which a redrive removes them.
const (
	Prefix         = "orderflow-"
	HeaderReleased = Prefix + "released" // how many of the reads were handed back untouched
	HeaderRetry    = Prefix + "retry"    // read_ct of the attempt that failed
	HeaderError    = Prefix + "error"    // its error
	HeaderDead     = Prefix + "dead"     // why it is a dead letter
)

// Message is one delivery of a message: what a handler gets.
type Message struct {
	ID          int64         // msg_id
	ReadCount   int32         // read_ct: with ID, the lease
	Released    int32         // reads that were handed back without an attempt
	Until       time.Time     // vt that this read set, by the database's clock
	Attempt     int           // 1 is the first
	Late        time.Duration // between its due time and this read, by the database's clock
	OrderID     int64
	Traceparent string          // the traceparent header; empty when there is none or no valid one
	Body        json.RawMessage // the order, as published
	Headers     json.RawMessage // as stored; may be nil
	LastError   string          // of the attempt before, when that one failed
}

// Poison says why a message can never be processed.
type Poison struct {
	Reason  string // ReasonNotAnObject or ReasonBadMessage
	Problem string
	OrderID int64 // 0 when there is none that could be read
}

func (p *Poison) Error() string { return p.Problem }

// Reasons of dead letters.
const (
	ReasonMaxAttempts  = "max_attempts"
	ReasonPermanent    = "permanent"
	ReasonNotAnObject  = "not_an_object"
	ReasonBadMessage   = "bad_message"
	ReasonUnknownOrder = "unknown_order"
)

// Decode fills what follows from m's Body and Headers. A *Poison is returned for a body that is no order; whatever can be
// used of it is set all the same.
func (m *Message) Decode() *Poison {
	m.decodeHeaders()
	m.Attempt = int(m.ReadCount - m.Released)
	return m.decodeBody()
}

// decodeBody wants an object with an order_id, and of the fields that it knows those that are there with the right type.
// Other fields are none of its business: a newer publisher may send more. Names are matched exactly, unlike a struct's in
// encoding/json, where "ORDER_ID" would do as well.
func (m *Message) decodeBody() *Poison {
	if len(m.Body) == 0 || m.Body[0] != '{' {
		return &Poison{Reason: ReasonNotAnObject, Problem: "message is not a JSON object but " + kind(m.Body)}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(m.Body, &fields); err != nil {
		return &Poison{Reason: ReasonNotAnObject, Problem: "message is not valid JSON: " + err.Error()}
	}
	raw, ok := fields["order_id"]
	if !ok {
		return &Poison{Reason: ReasonBadMessage, Problem: "order_id is missing"}
	}
	if err := json.Unmarshal(raw, &m.OrderID); err != nil || m.OrderID < 1 || raw[0] == 'n' {
		m.OrderID = 0
		return &Poison{Reason: ReasonBadMessage, Problem: "order_id must be a whole number above 0, not " + excerpt(raw)}
	}
	for _, f := range [...]struct{ name, want string }{
		{"customer_name", "a string"},
		{"product_name", "a string"},
		{"quantity", "a number"},
		{"price", "a number"},
		{"created_at", "a string"},
	} {
		if raw, ok := fields[f.name]; ok && kind(raw) != f.want {
			return &Poison{
				Reason: ReasonBadMessage, OrderID: m.OrderID,
				Problem: fmt.Sprintf("%s must be %s, not %s", f.name, f.want, excerpt(raw)),
			}
		}
	}
	if raw, ok := fields["quantity"]; ok {
		var whole int64
		if json.Unmarshal(raw, &whole) != nil {
			return &Poison{
				Reason: ReasonBadMessage, OrderID: m.OrderID,
				Problem: "quantity must be a whole number, not " + excerpt(raw),
			}
		}
	}
	return nil
}

// decodeHeaders is forgiving: headers are hints, anybody may have written them, and a wrong one must not stop an order.
func (m *Message) decodeHeaders() {
	m.Released, m.Traceparent, m.LastError = 0, "", ""
	if len(m.Headers) == 0 || m.Headers[0] != '{' {
		return
	}
	var h struct {
		Traceparent any `json:"traceparent"`
		Released    any `json:"orderflow-released"`
		Error       any `json:"orderflow-error"`
	}
	if json.Unmarshal(m.Headers, &h) != nil {
		return
	}
	if n, ok := h.Released.(float64); ok {
		// At least this read counts: a forged header cannot make a message immortal.
		m.Released = int32(min(max(n, 0), float64(max(m.ReadCount-1, 0))))
	}
	m.LastError, _ = h.Error.(string)
	if parent, ok := h.Traceparent.(string); ok && traceparent.MatchString(parent) {
		m.Traceparent = parent
	}
}

// traceparent is W3C's form: version, trace, parent, flags (https://www.w3.org/TR/trace-context/).
var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// TraceID is the trace that the order belongs to, or empty.
func (m *Message) TraceID() string {
	if m.Traceparent == "" {
		return ""
	}
	return m.Traceparent[3:35]
}

// Attrs are what every log line about a message bears.
func (m *Message) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("order_id", m.OrderID),
		slog.Int64("msg_id", m.ID),
		slog.Int("attempt", m.Attempt),
		slog.String("trace_id", m.TraceID()),
	}
}

func kind(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing (SQL null)"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// excerpt quotes a value for an error text, short enough for a log line.
func excerpt(raw json.RawMessage) string {
	const most = 60
	if len(raw) <= most {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "…"
}
