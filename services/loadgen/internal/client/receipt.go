package client

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// receipt is what a request says of an order or an answer shows of it. What is not there is 0, nil or NaN.
type receipt struct {
	id                int64
	customer, product []byte
	quantity, price   float64
}

var blank = receipt{quantity: math.NaN(), price: math.NaN()}

// appendReceipts finds the orders in the body of a POST or of its answer: the object itself, or the objects in its (first) array. It reads the few
// bytes that matter without building the rest, as this runs for every order. What it cannot read yields nothing.
func appendReceipts(dst []receipt, body []byte) []receipt {
	var (
		stack  [16]byte // what each level is: { or [
		depth  int
		isKey  bool // the next string is a name
		start  = len(dst)
		single = blank         // the answer as one order
		known  bool            // it has an id or data
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
			if isKey && nested() {
				dst = append(dst, blank)
			}
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
			switch {
			case depth == 1:
				known = single.read(name, body[end+1:]) || known
			case nested():
				dst[len(dst)-1].read(name, body[end+1:])
			}
		}
	}
	if known {
		return append(dst[:start], single)
	}
	return dst
}

// read takes in the field whose name was read; rest is what follows it. It returns true when the field is one of an order's.
func (r *receipt) read(name, rest []byte) bool {
	switch string(name) {
	case "id":
		id, ok := idAt(rest)
		if ok {
			r.id = id
		}
		return ok
	case "customer_name":
		r.customer = textAt(rest)
	case "product_name":
		r.product = textAt(rest)
	case "quantity":
		r.quantity = numberAt(rest)
	case "price":
		r.price = numberAt(rest)
	default:
		return false
	}
	return true
}

// deviation says how the order that was answered differs from the one that was sent; "" when it does not, as far as both say.
func (r *receipt) deviation(sent *receipt) string {
	switch {
	case r.customer != nil && sent.customer != nil && !bytes.Equal(r.customer, sent.customer):
		return fmt.Sprintf("customer_name %q instead of %q", r.customer, sent.customer)
	case r.product != nil && sent.product != nil && !bytes.Equal(r.product, sent.product):
		return fmt.Sprintf("product_name %q instead of %q", r.product, sent.product)
	case math.Abs(r.quantity-sent.quantity) > 0:
		return fmt.Sprintf("quantity %g instead of %g", r.quantity, sent.quantity)
	case math.Abs(r.price-sent.price) > 0.001:
		return fmt.Sprintf("price %g instead of %g", r.price, sent.price)
	}
	return ""
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

// valueAt is what follows a name's colon, and whether that begins with a quote, which it then leaves out.
func valueAt(rest []byte) (value []byte, quoted bool) {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte{':'})
	if !ok {
		return nil, false
	}
	return bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte{'"'})
}

// textAt reads the value after a name: a string. One with escapes is not read: there is more than one way to write it.
func textAt(rest []byte) []byte {
	rest, quoted := valueAt(rest)
	end := bytes.IndexByte(rest, '"')
	if !quoted || end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return nil
	}
	return rest[:end]
}

// numberAt reads the value after a name: a number, bare or quoted.
func numberAt(rest []byte) float64 {
	rest, _ = valueAt(rest)
	n := 0
	for n < len(rest) && strings.IndexByte("0123456789+-.eE", rest[n]) >= 0 {
		n++
	}
	f, err := strconv.ParseFloat(string(rest[:n]), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// idAt reads the value after a name: a whole number, bare or quoted.
func idAt(rest []byte) (int64, bool) {
	rest, quoted := valueAt(rest)
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
