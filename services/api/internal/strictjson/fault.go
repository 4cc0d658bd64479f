package strictjson

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault is one thing wrong with a request: where, what, and what stood there.
type Fault struct {
	Location string          // such as body.price or body.orders[3].quantity
	Message  string          // begins in lower case, names what is allowed
	Value    json.RawMessage // a shortened copy of what was sent; nil when nothing was
}

// MalformedError is a body that is not JSON.
type MalformedError struct{ Fault }

func (m *MalformedError) Error() string { return "malformed JSON: " + m.Message }

// InvalidError is a body that is JSON but not what was asked for. It names every fault, up to a bound.
type InvalidError struct {
	Faults []Fault
	Cut    bool // there were more
}

func (i *InvalidError) Error() string {
	var b strings.Builder
	for n, f := range i.Faults {
		if n > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Location)
		b.WriteString(": ")
		b.WriteString(f.Message)
	}
	return b.String()
}

// maxFaults bounds the answer to a batch in which everything is wrong.
const maxFaults = 20

func (i *InvalidError) add(location, message, raw string) {
	if len(i.Faults) == maxFaults {
		i.Cut = true
		return
	}
	i.Faults = append(i.Faults, Fault{Location: location, Message: message, Value: echo(raw)})
}

// maxEcho bounds how much of a wrong value is sent back.
const maxEcho = 64

// echo shortens a raw JSON value for the answer. What would not be safe to send back as it is (a number that overflows
// the reader's float, NaN, something long) becomes a string.
func echo(raw string) json.RawMessage {
	if raw == "" {
		return nil
	}
	if len(raw) <= maxEcho && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') && json.Valid([]byte(raw)) {
		return json.RawMessage(raw)
	}
	if len(raw) <= 15 && !strings.ContainsAny(raw, "eE") && json.Valid([]byte(raw)) {
		return json.RawMessage(raw)
	}
	if raw[0] == '"' {
		// Decode first, so that an escape is not cut in half and then escaped a second time.
		var s string
		if json.Unmarshal([]byte(raw), &s) == nil {
			raw = s
		}
	}
	quoted, _ := json.Marshal(shorten(raw)) // a string always has its JSON
	return quoted
}

func shorten(s string) string {
	if len(s) <= maxEcho {
		return s
	}
	cut := maxEcho
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "… (" + strconv.Itoa(len(s)) + " bytes)"
}
