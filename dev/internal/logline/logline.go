// Package logline makes the services' JSON log lines readable for people: time, level, message and what matters of the rest, on one
// line and without anything that could confuse a terminal. What is not such a line passes through, cleaned.
package logline

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Record is one line of a log, or a line that is none (then only Message is set).
type Record struct {
	Time    time.Time
	Level   string // DEBUG, INFO, WARN, ERROR, or ""
	Message string
	Attrs   []Attr
}

// Attr is one further field.
type Attr struct{ Key, Value string }

// uninteresting fields are the same in every line of a process, or of use only to machines.
var uninteresting = []string{"trace_id", "span_id", "version", "service", "pid", "source"}

// Parse reads a line as slog's JSON handler writes it. It keeps the order of the fields.
func Parse(text string) Record {
	if !strings.HasPrefix(text, "{") {
		return Record{Message: clean(text)}
	}
	fields, ok := object(text)
	if !ok {
		return Record{Message: clean(text)}
	}
	var r Record
	for _, f := range fields {
		switch {
		case f.Key == "time":
			r.Time, _ = time.Parse(time.RFC3339Nano, f.Value) // without a time the line is as good
		case f.Key == "level":
			r.Level = f.Value
		case f.Key == "msg":
			r.Message = clean(f.Value)
		case !slices.Contains(uninteresting, f.Key):
			r.Attrs = append(r.Attrs, Attr{clean(f.Key), clean(readable(f.Key, f.Value))})
		}
	}
	if r.Message == "" {
		return Record{Message: clean(text)}
	}
	return r
}

// readable turns what slog writes for a duration, nanoseconds, into one.
func readable(key, value string) string {
	if !slices.Contains([]string{"duration", "took", "elapsed", "delay", "timeout", "drain_timeout", "backoff"}, key) {
		return value
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	d := time.Duration(n)
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// object reads the top level of a JSON object in its own order. Nested values stay JSON.
func object(text string) ([]Attr, bool) {
	dec := json.NewDecoder(strings.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var out []Attr
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, false
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, false
		}
		name, _ := key.(string)
		value := string(raw)
		var s string
		if json.Unmarshal(raw, &s) == nil {
			value = s
		}
		out = append(out, Attr{name, value})
	}
	_, err := dec.Token()
	return out, err == nil
}

// Clock is the time of day of a record, "" without one.
func (r Record) Clock() string {
	if r.Time.IsZero() {
		return ""
	}
	return r.Time.Local().Format("15:04:05.000")
}

// Fields are the further fields as key=value.
func (r Record) Fields() string {
	parts := make([]string, len(r.Attrs))
	for i, a := range r.Attrs {
		parts[i] = a.String()
	}
	return strings.Join(parts, " ")
}

// String is key=value, in quotes where they help.
func (a Attr) String() string {
	if a.Value == "" || strings.ContainsAny(a.Value, " =\"") {
		return a.Key + `="` + a.Value + `"`
	}
	return a.Key + "=" + a.Value
}

// String is the whole record on one line.
func (r Record) String() string {
	var parts []string
	for _, part := range []string{r.Clock(), r.Level, r.Message, r.Fields()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// clean takes out what would act on a terminal: escape sequences lose their escape, and other control characters become spaces.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n' || c == '\r':
			return ' '
		case unicode.IsControl(c) || unicode.Is(unicode.Cf, c):
			return -1
		}
		return c
	}, text)
}
