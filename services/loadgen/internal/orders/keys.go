package orders

import (
	"fmt"
	"strconv"
	"strings"
)

// numberWidth pads a key's number, so that keys sort as they were sent: then a listing by key reads old orders first, and orders
// that were sent together stand together.
const numberWidth = 9

// ElementSeparator stands in the stored key of one order of a batch, between the batch's key and the order's place in it.
const ElementSeparator = "\x1f"

// Keys makes one generator's idempotency keys: <run>-<index>-<n>.
type Keys struct {
	Run   string
	Index int
}

// Prefix is what all keys of this generator begin with.
func (k Keys) Prefix() string { return string(k.appendPrefix(nil)) }

func (k Keys) appendPrefix(dst []byte) []byte {
	dst = append(dst, k.Run...)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, int64(k.Index), 10)
	return append(dst, '-')
}

// Append appends the key of the request whose first order is n.
func (k Keys) Append(dst []byte, n int) []byte {
	return fmt.Appendf(k.appendPrefix(dst), "%0*d", numberWidth, n)
}

// AppendWrong appends the key of a request that is wrong on purpose. It is none of the keys that Parse knows.
func (k Keys) AppendWrong(dst []byte, seq int) []byte {
	return fmt.Appendf(k.appendPrefix(dst), "x%0*d", numberWidth, seq)
}

// String is the key under which order n is stored, when its request carried `bulk` orders.
func (k Keys) String(n, bulk int) string {
	if bulk <= 1 {
		return string(k.Append(nil, n))
	}
	return string(k.Append(nil, n-n%bulk)) + ElementSeparator + strconv.Itoa(n%bulk)
}

// Readable is a stored key as people can read it.
func Readable(key string) string { return strings.ReplaceAll(key, ElementSeparator, "#") }

// Parse finds which generator's which order a stored key of the run names. A run whose id begins with another's (a and a-0) is
// told apart: what follows a run's id is exactly two numbers.
func Parse(run, key string) (index, n int, ok bool) {
	rest, ok := strings.CutPrefix(key, run+"-")
	if !ok {
		return 0, 0, false
	}
	indexText, rest, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, 0, false
	}
	numberText, element, isElement := strings.Cut(rest, ElementSeparator)
	if index, ok = parseNumber(indexText); !ok {
		return 0, 0, false
	}
	if n, ok = parseNumber(numberText); !ok || len(numberText) < numberWidth {
		return 0, 0, false
	}
	if isElement {
		i, ok := parseNumber(element)
		if !ok {
			return 0, 0, false
		}
		n += i
	}
	return index, n, true
}

// ParseWrong finds which generator of the run sent the request that was wrong on purpose whose stored key this is.
func ParseWrong(run, key string) (index int, ok bool) {
	indexText, number, ok := strings.Cut(strings.TrimPrefix(key, run+"-"), "-x")
	if !ok || !strings.HasPrefix(key, run+"-") {
		return 0, false
	}
	if index, ok = parseNumber(indexText); !ok {
		return 0, false
	}
	number, _, _ = strings.Cut(number, ElementSeparator)
	_, ok = parseNumber(number)
	return index, ok
}

func parseNumber(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 40) // unlike Atoi it takes no sign
	return int(n), err == nil
}

// Element is the place in its batch that a stored key names; 0 when it names none.
func Element(key string) int {
	_, element, _ := strings.Cut(key, ElementSeparator)
	i, _ := parseNumber(element)
	return i
}
