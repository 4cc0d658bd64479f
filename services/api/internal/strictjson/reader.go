// Package strictjson reads JSON from outside without ever guessing: every byte is checked against RFC 8259,
// numbers are handed over as the text that was sent (so that money never passes through a float), keys are
// matched by the letter, and keys given twice are the caller's to refuse.
//
// It must never accept what encoding/json refuses, with two exceptions: a byte-order mark before the text; and, so that the
// field can be named, NaN, Infinity and -Infinity, which Python's json module sends and which are read as values of the kind
// [NotFinite]. A fuzz test holds it to that.
package strictjson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind says what sort of value comes next.
type Kind byte

// The kinds of values. [Invalid] is the beginning of no value.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	NotFinite
	String
	Array
	Object
)

// String names the kind in words for a person.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "a boolean"
	case Number:
		return "a number"
	case NotFinite:
		return "not a finite number"
	case String:
		return "a string"
	case Array:
		return "an array"
	case Object:
		return "an object"
	default:
		return "not JSON"
	}
}

// maxDepth bounds the nesting of values that are skipped. Nothing that is asked for nests deeper than three.
const maxDepth = 128

// SyntaxError says where the text stops being JSON.
type SyntaxError struct {
	Offset int // bytes from the start
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset)
}

// Reader walks over one JSON text. Its strings are slices of that text where no escape stands in the way.
type Reader struct {
	text string
	pos  int
}

// byteOrderMark is what some programs write before UTF-8. RFC 8259, section 8.1, lets a reader pass it over.
const byteOrderMark = "\ufeff"

// NewReader reads text, which must not change while what was read from it is in use. A byte-order mark before it is passed over.
func NewReader(text string) Reader {
	r := Reader{text: text}
	if strings.HasPrefix(text, byteOrderMark) {
		r.pos = len(byteOrderMark)
	}
	return r
}

func (r *Reader) fail(reason string) error {
	if r.pos >= len(r.text) {
		reason = "the text ends too early"
	}
	return &SyntaxError{Offset: r.pos, Reason: reason}
}

func (r *Reader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// Kind looks at the next value without taking it.
func (r *Reader) Kind() Kind {
	r.space()
	if r.pos >= len(r.text) {
		return Invalid
	}
	switch c := r.text[r.pos]; {
	case c == '"':
		return String
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == 't', c == 'f':
		return Bool
	case c == 'n':
		return Null
	case c == 'N', c == 'I':
		return NotFinite
	case c == '-' && r.pos+1 < len(r.text) && r.text[r.pos+1] == 'I':
		return NotFinite
	case c == '-', c >= '0' && c <= '9':
		return Number
	}
	return Invalid
}

// End checks that nothing but white space is left.
func (r *Reader) End() error {
	r.space()
	if r.pos < len(r.text) {
		return r.fail("there is something after the end of the value")
	}
	return nil
}

// Open takes the bracket ('{' or '[') that begins the next value.
func (r *Reader) Open(bracket byte) error {
	r.space()
	if r.pos >= len(r.text) || r.text[r.pos] != bracket {
		return r.fail(fmt.Sprintf("expected %q", bracket))
	}
	r.pos++
	return nil
}

// More reports whether another member or element stands before the closing bracket, and takes the comma or the
// bracket. first is true until the first one has been read.
func (r *Reader) More(closing byte, first bool) (bool, error) {
	r.space()
	switch {
	case r.pos >= len(r.text):
		return false, r.fail("")
	case r.text[r.pos] == closing:
		r.pos++
		return false, nil
	case first:
		return true, nil
	case r.text[r.pos] != ',':
		return false, r.fail(fmt.Sprintf("expected ',' or %q", closing))
	}
	r.pos++
	r.space()
	if r.pos < len(r.text) && r.text[r.pos] == closing {
		return false, r.fail("there is a comma with nothing after it")
	}
	return true, nil
}

// Key takes a member's name and the colon. ok is false when the name is not valid Unicode.
func (r *Reader) Key() (key string, ok bool, err error) {
	r.space()
	if r.pos >= len(r.text) || r.text[r.pos] != '"' {
		return "", false, r.fail("expected a member's name in double quotes")
	}
	key, ok, err = r.String()
	if err != nil {
		return "", false, err
	}
	r.space()
	if r.pos >= len(r.text) || r.text[r.pos] != ':' {
		return "", false, r.fail("expected ':'")
	}
	r.pos++
	return key, ok, nil
}

// String takes a string. ok is false for one that is well-formed JSON but not Unicode: half of a surrogate pair.
func (r *Reader) String() (s string, ok bool, err error) {
	r.space()
	if r.pos >= len(r.text) || r.text[r.pos] != '"' {
		return "", false, r.fail("expected a string")
	}
	start := r.pos + 1
	for i := start; i < len(r.text); {
		switch c := r.text[i]; {
		case c == '"':
			r.pos = i + 1
			return r.text[start:i], true, nil
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.pos = i
			return "", false, r.fail("there is a control character that is not escaped")
		case c < utf8.RuneSelf:
			i++
		default:
			_, size := utf8.DecodeRuneInString(r.text[i:])
			if size == 1 {
				r.pos = i
				return "", false, r.fail("the text is not UTF-8")
			}
			i += size
		}
	}
	r.pos = len(r.text)
	return "", false, r.fail("")
}

// escaped is String from the first backslash on.
func (r *Reader) escaped(start, at int) (string, bool, error) {
	out := append(make([]byte, 0, at-start+32), r.text[start:at]...)
	ok := true
	for i := at; i < len(r.text); {
		c := r.text[i]
		switch {
		case c == '"':
			r.pos = i + 1
			return string(out), ok, nil
		case c < ' ':
			r.pos = i
			return "", false, r.fail("there is a control character that is not escaped")
		case c != '\\':
			_, size := utf8.DecodeRuneInString(r.text[i:])
			if size == 1 && c >= utf8.RuneSelf {
				r.pos = i
				return "", false, r.fail("the text is not UTF-8")
			}
			out = append(out, r.text[i:i+size]...)
			i += size
			continue
		}
		r.pos = i
		if i+1 >= len(r.text) {
			r.pos = len(r.text)
			return "", false, r.fail("")
		}
		i += 2
		switch e := r.text[i-1]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			char, known := r.hex(i)
			if !known {
				return "", false, r.fail(`expected four hexadecimal digits after \u`)
			}
			i += 4
			if utf16.IsSurrogate(char) {
				pair := utf8.RuneError
				if i+1 < len(r.text) && r.text[i] == '\\' && r.text[i+1] == 'u' {
					if low, known := r.hex(i + 2); known {
						pair = utf16.DecodeRune(char, low)
					}
				}
				if pair == utf8.RuneError {
					ok = false
				} else {
					i += 6
				}
				char = pair
			}
			out = utf8.AppendRune(out, char)
		default:
			return "", false, r.fail("there is an escape that JSON does not know")
		}
	}
	r.pos = len(r.text)
	return "", false, r.fail("")
}

func (r *Reader) hex(at int) (rune, bool) {
	if at+4 > len(r.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(r.text[at:at+4], 16, 16)
	// ParseUint takes no sign and, with an explicit base, no underscore: what it takes is four digits.
	return rune(n), err == nil
}

// Number takes a number, or one of the words that stand for none, as it was written.
func (r *Reader) Number() (string, error) {
	kind := r.Kind()
	start := r.pos
	switch kind {
	case Number:
	case NotFinite:
		return r.word("NaN", "Infinity", "-Infinity")
	default:
		return "", r.fail("expected a number")
	}
	if r.text[r.pos] == '-' {
		r.pos++
	}
	switch {
	case r.pos < len(r.text) && r.text[r.pos] == '0':
		r.pos++
	case !r.digits():
		return "", r.fail("expected a digit")
	}
	if r.pos < len(r.text) && r.text[r.pos] == '.' {
		r.pos++
		if !r.digits() {
			return "", r.fail("expected a digit")
		}
	}
	if r.pos < len(r.text) && (r.text[r.pos] == 'e' || r.text[r.pos] == 'E') {
		r.pos++
		if r.pos < len(r.text) && (r.text[r.pos] == '+' || r.text[r.pos] == '-') {
			r.pos++
		}
		if !r.digits() {
			return "", r.fail("expected a digit")
		}
	}
	return r.text[start:r.pos], nil
}

func (r *Reader) digits() bool {
	start := r.pos
	for r.pos < len(r.text) && r.text[r.pos] >= '0' && r.text[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}

func (r *Reader) word(words ...string) (string, error) {
	for _, w := range words {
		if len(r.text)-r.pos >= len(w) && r.text[r.pos:r.pos+len(w)] == w {
			r.pos += len(w)
			return w, nil
		}
	}
	return "", r.fail("expected a value")
}

// Skip takes any value, checking it all the same, and returns it as it was written.
func (r *Reader) Skip() (raw string, err error) {
	kind := r.Kind()
	start := r.pos
	if err := r.skip(kind, 0); err != nil {
		return "", err
	}
	return r.text[start:r.pos], nil
}

func (r *Reader) skip(kind Kind, depth int) error {
	if depth > maxDepth {
		return r.fail("values are nested too deeply")
	}
	switch kind {
	case String:
		_, _, err := r.String()
		return err
	case Number, NotFinite:
		_, err := r.Number()
		return err
	case Bool:
		_, err := r.word("true", "false")
		return err
	case Null:
		_, err := r.word("null")
		return err
	case Array:
		return r.skipAll('[', ']', depth)
	case Object:
		return r.skipAll('{', '}', depth)
	default:
		return r.fail("expected a value")
	}
}

func (r *Reader) skipAll(opening, closing byte, depth int) error {
	if err := r.Open(opening); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := r.More(closing, first)
		if err != nil || !more {
			return err
		}
		if opening == '{' {
			if _, _, err := r.Key(); err != nil {
				return err
			}
		}
		if err := r.skip(r.Kind(), depth+1); err != nil {
			return err
		}
	}
}
