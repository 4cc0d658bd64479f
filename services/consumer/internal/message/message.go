// Package message owns what a message of the queue means: its body, its headers, and how its attempts are counted. It must
// never fail on anything that a queue can hold: what is no order is a *Poison, with the reason that goes to the dead letters.
package message

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"orderflow.example/kit/tracing"
)

// Header names that the consumer writes. All begin with Prefix, by which a redrive removes them.
const (
	Prefix           = "orderflow-"
	HeaderUnanswered = Prefix + "unanswered" // deliveries in a row of which nothing was heard, this one included
	HeaderFailed     = Prefix + "failed"     // attempts that failed
	HeaderStarted    = Prefix + "started"    // starts that were made known and had no answer: read_ct → consumer
	HeaderReleased   = Prefix + "released"   // read_ct of the delivery that was handed back
	HeaderRetry      = Prefix + "retry"      // read_ct of the attempt that failed
	HeaderError      = Prefix + "error"      // its error
	HeaderDead       = Prefix + "dead"       // why it is a dead letter
)

// HeaderSampled is the api's: false where it has decided that the order's trace is not recorded.
const HeaderSampled = "sampled"

// Message is one delivery of a message: what a handler gets.
type Message struct {
	ID           int64     // msg_id
	ReadCount    int32     // read_ct
	EnqueuedAt   Instant   // enqueued_at: with ID and ReadCount, the lease
	Failed       int32     // attempts that failed
	Crashes      int32     // attempts that had no answer although nothing else was worked on: their consumer died
	Unanswered   int32     // deliveries in a row, before this one, of which nothing was heard: nobody knows whether they were started
	LastStart    Start     // the latest of the starts that were made known and had no answer
	Until        time.Time // vt that this read set, by the database's clock
	Due          Instant   // since when it could be read, by the database's clock; not before 2000
	Leased       Instant   // when this read leased it, by the database's clock
	Attempt      int       // the number of this attempt: those that counted before, and one; 1 is the first
	OrderID      int64
	Created      Instant         // created_at of the order: with OrderID it names one order, for ever
	Installation Installation    // whose order it is
	Traceparent  string          // the traceparent header, or one of a trace that nobody records if that is what the headers say; empty when there is none or no valid one
	Unsampled    bool            // the headers say so: Traceparent has an id that means nothing to others
	Body         json.RawMessage // the order, as published
	Headers      json.RawMessage // as stored; may be nil
	Size         int64           // bytes of body and headers in the queue, at least
	LastError    string          // of the attempt before, when that one failed
}

// Start is one that was made known before the handler ran. Its zero value is none.
type Start struct {
	ReadCount int32 // of its delivery
	Consumer  string
}

// Poison says why a message can never be processed.
type Poison struct {
	Reason  string // one of those below
	Problem string
	OrderID int64 // 0 when there is none that could be read
}

// UnknownOrder is what is wrong with a message whose order does not exist.
func UnknownOrder(id int64) *Poison {
	return &Poison{Reason: ReasonUnknownOrder, Problem: fmt.Sprintf("there is no order %d", id), OrderID: id}
}

// OtherOrder is what is wrong with a message whose order id now belongs to an order that it was not sent for: ids are given out again
// when a database goes back to an earlier state, or when orders are truncated with "restart identity". found is when that order was
// created.
func OtherOrder(id int64, created, found Instant) *Poison {
	named := "the message's order at " + created.String()
	if created == (Instant{}) {
		named = "the message does not say when its order was created, and is not the message that the order names"
	}
	return &Poison{Reason: ReasonOtherOrder, OrderID: id, Problem: fmt.Sprintf(
		"the order with the id %d is not the one that this message was sent for: it was created at %s, %s", id, found, named)}
}

// TooLarge is what is wrong with a message that is not to leave the database: of size bytes at least, where most are allowed.
func TooLarge(size, most int64) *Poison {
	return &Poison{Reason: ReasonTooLarge, Problem: fmt.Sprintf("message of %d bytes or more, larger than MAX_MESSAGE_BYTES = %d", size, most)}
}

// Unreadable is what is wrong with a message that the database cannot give out.
func Unreadable(err error) *Poison {
	return &Poison{Reason: ReasonUnreadable, Problem: "the message cannot be read: " + err.Error()}
}

// readsUpAt is a read_ct that cannot count another read. Somebody's hand has put it there.
const readsUpAt = math.MaxInt32

// Reasons of dead letters.
const (
	ReasonMaxAttempts  = "max_attempts"
	ReasonCrashed      = "crashed"
	ReasonPermanent    = "permanent"
	ReasonNotAnObject  = "not_an_object"
	ReasonBadMessage   = "bad_message"
	ReasonUnknownOrder = "unknown_order"
	ReasonOtherOrder   = "other_order"
	ReasonTooLarge     = "too_large"
	ReasonUnreadable   = "unreadable"
)

// Decode fills what follows from m's Body and Headers. A *Poison is returned for a body that is no order; whatever can be
// used of it is set all the same.
func (m *Message) Decode() *Poison {
	m.decodeHeaders()
	m.Attempt = int(m.Failed+m.Crashes) + 1
	poison := m.decodeBody()
	if poison == nil && m.ReadCount == readsUpAt {
		poison = &Poison{Reason: ReasonBadMessage, OrderID: m.OrderID, Problem: fmt.Sprintf("read_ct is %d: it cannot count another read", readsUpAt)}
	}
	return poison
}

// decodeBody wants an object with an order_id, and of the fields that it knows those that are there with the right type.
// Other fields are none of its business: a newer publisher may send more. Names are matched exactly, unlike a struct's in
// encoding/json, where "ORDER_ID" would do as well.
func (m *Message) decodeBody() *Poison {
	m.OrderID, m.Created = 0, Instant{}
	var id []byte
	var wrong string
	object := scan(m.Body, func(name, value []byte) {
		var want string
		switch string(name) {
		case "order_id":
			id = value
			return
		case "customer_name", "product_name", "created_at":
			want = "a string"
		case "quantity", "price":
			want = "a number"
		default:
			return
		}
		if string(name) == "created_at" {
			m.Created = parseInstant(value)
		}
		if wrong != "" {
			return
		}
		if kind(value) != want {
			wrong = fmt.Sprintf("%s must be %s, not %s", name, want, excerpt(value))
		} else if string(name) == "quantity" {
			if _, err := strconv.ParseInt(string(value), 10, 64); err != nil {
				wrong = "quantity must be a whole number, not " + excerpt(value)
			}
		}
	})
	switch n, err := strconv.ParseInt(string(id), 10, 64); {
	case !object:
		return &Poison{Reason: ReasonNotAnObject, Problem: "message is not a JSON object but " + kind(m.Body)}
	case id == nil:
		return &Poison{Reason: ReasonBadMessage, Problem: "order_id is missing"}
	case err != nil || n < 1:
		return &Poison{Reason: ReasonBadMessage, Problem: "order_id must be a whole number above 0, not " + excerpt(id)}
	default:
		m.OrderID = n
	}
	if wrong != "" {
		return &Poison{Reason: ReasonBadMessage, OrderID: m.OrderID, Problem: wrong}
	}
	return nil
}

// decodeHeaders is forgiving: headers are hints, anybody may have written them, and a wrong one must not stop an order. A forged
// one must not kill it either: there were no more attempts than reads.
func (m *Message) decodeHeaders() {
	m.Traceparent, m.Unsampled, m.LastError = "", false, ""
	m.Failed, m.Crashes, m.Unanswered, m.LastStart = 0, 0, 0, Start{}
	before := max(m.ReadCount, 1) - 1 // reads
	scan(m.Headers, func(name, value []byte) {
		switch string(name) {
		case "traceparent":
			if text := bytes.Trim(value, `"`); isTraceparent(text) {
				m.Traceparent = string(text)
			}
		case HeaderSampled:
			m.Unsampled = string(value) == "false"
		case HeaderUnanswered:
			m.Unanswered = min(max(count(value, math.MaxInt32), 1)-1, before)
		case HeaderFailed:
			m.Failed = count(value, before)
		case HeaderStarted:
			m.Crashes, m.LastStart = starts(value, before)
		case HeaderError:
			_ = json.Unmarshal(value, &m.LastError) // what is no text is none
		}
	})
	m.Crashes = min(m.Crashes, before-m.Failed)
	if m.Unsampled = m.Unsampled && m.Traceparent == ""; m.Unsampled {
		m.Traceparent = tracing.Unsampled() // for us and whoever is called: else each would decide anew
	}
}

// starts counts the entries of an object, up to most, and returns the latest of those that can be a delivery's before this one. What is no
// object has none.
func starts(value []byte, most int32) (n int32, last Start) {
	scan(value, func(name, consumer []byte) {
		n = min(n+1, most)
		if read, err := strconv.ParseInt(string(name), 10, 32); err == nil && int32(read) > last.ReadCount && int32(read) <= most {
			last = Start{ReadCount: int32(read)}
			_ = json.Unmarshal(consumer, &last.Consumer) // what is no text is none
		}
	})
	return n, last
}

// count reads a header that counts something, from 0 to most. What is no number is 0, and a number beyond all range is infinite.
func count(value []byte, most int32) int32 {
	n, err := strconv.ParseFloat(string(value), 64)
	if err != nil && !(n > 0) {
		return 0
	}
	return int32(min(max(n, 0), float64(most)))
}

// isTraceparent checks for W3C's form: version, trace, parent, flags in lower-case hexadecimal digits
// (https://www.w3.org/TR/trace-context/).
func isTraceparent(text []byte) bool {
	const form = "00-00000000000000000000000000000000-0000000000000000-00"
	if len(text) != len(form) {
		return false
	}
	for i, c := range text {
		if digit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'; digit == (form[i] == '-') || !digit && c != '-' {
			return false
		}
	}
	return true
}

// TraceID is the trace that the order belongs to, or empty.
func (m *Message) TraceID() string {
	if m.Traceparent == "" || m.Unsampled {
		return ""
	}
	return m.Traceparent[3:35]
}

// SampledTraceID is TraceID if the trace was sampled, so that it leads to something; or empty.
func (m *Message) SampledTraceID() string {
	if !strings.HasSuffix(m.Traceparent, "1") { // the flags; only this one of them is handed on
		return ""
	}
	return m.TraceID()
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

// Log writes a line about a message.
func Log(log *slog.Logger, level slog.Level, text string, m *Message, more ...slog.Attr) {
	ctx := context.Background()
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, text, append(m.Attrs(), more...)...)
	}
}

func kind(raw []byte) string {
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
func excerpt(raw []byte) string {
	const most = 60
	if len(raw) <= most {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "…"
}
