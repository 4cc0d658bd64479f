package client

import (
	"bytes"
	"strconv"
	"strings"
)

// appendIDs finds the ids in the answer to a POST: that of the object itself, or those of the objects in its (first) array. It reads the few
// bytes that matter without building the rest, as this runs for every order. What it cannot read yields no id.
func appendIDs(dst []int64, body []byte) []int64 {
	var (
		stack  [16]byte // what each level is: { or [
		depth  int
		isKey  bool // the next string is a name
		start  = len(dst)
		nested = func() bool { // an object in an array that is the answer, or that stands in it
			return (depth == 2 && stack[0] == '[') || (depth == 3 && stack[0] == '{' && stack[1] == '[')
		}
	)
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '{', '[':
			if depth == len(stack) {
				return dst[:start]
			}
			stack[depth] = c
			depth++
			isKey = c == '{'
		case '}', ']':
			if depth == 0 {
				return dst[:start]
			}
			depth--
			isKey = false
		case ',':
			isKey = depth > 0 && stack[depth-1] == '{'
		case '"':
			end := stringEnd(body, i+1)
			if end < 0 {
				return dst[:start]
			}
			name := body[i+1 : end]
			i = end
			if !isKey {
				continue
			}
			isKey = false
			if string(name) != "id" || (depth != 1 && !nested()) {
				continue
			}
			id, ok := idAt(body[end+1:])
			if !ok {
				continue
			}
			if depth == 1 {
				return append(dst[:start], id)
			}
			dst = append(dst, id)
		}
	}
	return dst
}

// stringEnd is the place of the quote that ends the string beginning at i, or -1.
func stringEnd(body []byte, i int) int {
	for {
		n := bytes.IndexByte(body[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for j := i - 1; j >= 0 && body[j] == '\\'; j-- {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
		i++
	}
}

// idAt reads the value after a name: a colon and a whole number, bare or quoted.
func idAt(rest []byte) (int64, bool) {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if len(rest) == 0 || rest[0] != ':' {
		return 0, false
	}
	rest, quoted := bytes.CutPrefix(bytes.TrimLeft(rest[1:], " \t\r\n"), []byte{'"'})
	n := 0
	for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	// What goes on is not a whole number: a fraction, a UUID that begins with digits.
	if n == 0 || n > 19 || n == len(rest) || (quoted && rest[n] != '"') || (!quoted && strings.IndexByte(",}] \t\r\n", rest[n]) < 0) {
		return 0, false
	}
	id, err := strconv.ParseInt(string(rest[:n]), 10, 64)
	return id, err == nil && id > 0
}
