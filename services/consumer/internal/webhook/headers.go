package webhook

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// Headers are the user's own.
type Headers []Header

// Header is one of them: its name in the usual spelling, and its value, which may be a secret.
type Header struct{ Name, Value string }

// String names them. It does not show a value.
func (h Headers) String() string {
	names := make([]string, len(h))
	for i := range h {
		names[i] = h[i].Name
	}
	return strings.Join(names, ", ")
}

// mostHeaders bounds a call's head, which servers bound too.
const mostHeaders = 50

// taken are the headers that a delivery has anyway, and those that are about the connection and not the call.
var taken = map[string]bool{
	"Content-Type": true, "Content-Length": true, "Content-Encoding": true, "Host": true, "Orderflow-Attempt": true, "Traceparent": true,
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authorization": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Http2-Settings": true, "Accept-Encoding": true, "Idempotency-Key": true,
}

// ParseHeaders reads lines of the form "Name: value". Empty lines do not count. The error names no value.
func ParseHeaders(lines string) (Headers, error) {
	var headers Headers
	seen := make(map[string]bool)
	n := 0
	for line := range strings.SplitSeq(lines, "\n") {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		h, err := parseHeader(line)
		if err != nil {
			return nil, fmt.Errorf("line %d %w", n, err)
		}
		if seen[h.Name] {
			return nil, fmt.Errorf("line %d has %s once more", n, h.Name)
		}
		seen[h.Name] = true
		headers = append(headers, h)
	}
	if len(headers) > mostHeaders {
		return nil, fmt.Errorf("there are %d, more than %d", len(headers), mostHeaders)
	}
	return headers, nil
}

func parseHeader(line string) (Header, error) {
	name, value, colon := strings.Cut(line, ":")
	switch {
	case !colon:
		return Header{}, errors.New("has no colon")
	case !isToken(name):
		return Header{}, errors.New("does not begin with a header's name")
	}
	name, value = textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value)
	switch {
	case taken[name], strings.HasPrefix(name, "Webhook-"):
		return Header{}, fmt.Errorf("sets %s, which is not yours to set", name)
	case value == "":
		return Header{}, fmt.Errorf("has no value for %s", name)
	case strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return Header{}, fmt.Errorf("has a value for %s that is not of visible ASCII characters", name)
	}
	return Header{name, value}, nil
}

// isToken is RFC 9110, 5.6.2.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
