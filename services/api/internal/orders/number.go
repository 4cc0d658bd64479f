package orders

import (
	"errors"
	"strconv"
	"strings"

	"orderflow.example/services/api/internal/strictjson"
)

// This file reads numbers from their digits, exactly: a float would change some of them.

// numberFault says what keeps a JSON number from being a fixed-point number.
type numberFault byte

const (
	numberFits numberFault = iota
	numberNegative
	numberTooLarge
	numberTooFine // has digits beyond the scale
)

// fixedPoint reads a JSON number (as strictjson hands it over) as a whole number of 10^-scale, exactly: 1e2, 10.0 and 10.500
// are read for what they are worth. limit is the largest result allowed, at most 18 digits.
func fixedPoint(number string, scale int, limit int64) (int64, numberFault) {
	negative := false
	if number[0] == '-' {
		negative, number = true, number[1:]
	}
	// The value is digits × 10^exponent, digits being the number without its point and its zeros on either side.
	var (
		digits   [20]byte
		count    int  // of digits, without leading zeros
		zeros    int  // trailing zeros not yet put into digits
		exponent int  // of the number as written
		fraction bool // past the point
		i        int
	)
scan:
	for ; i < len(number); i++ {
		switch d := number[i]; d {
		case '.':
			fraction = true
			continue
		case 'e', 'E':
			break scan
		case '0':
			if count > 0 {
				zeros++
			}
		default:
			for ; zeros > 0 && count < len(digits); zeros-- {
				digits[count] = '0'
				count++
			}
			if count < len(digits) {
				digits[count] = d
			}
			// Past the array's end only the count matters: the number is too long, one way or the other.
			count += 1 + zeros
			zeros = 0
		}
		if fraction {
			exponent--
		}
	}
	if count == 0 {
		return 0, numberFits
	}
	if negative {
		return 0, numberNegative
	}
	if i < len(number) {
		exponent += exponentOf(number[i+1:])
	}
	shift := exponent + zeros + scale
	if shift < 0 {
		// Of a number that is both, say that it is too large: rounding would not help.
		if count+shift > 18 {
			return 0, numberTooLarge
		}
		return 0, numberTooFine
	}
	if count+shift > 18 {
		return 0, numberTooLarge
	}
	var value int64
	for _, d := range digits[:count] {
		value = value*10 + int64(d-'0')
	}
	for range shift {
		value *= 10
	}
	if value > limit {
		return 0, numberTooLarge
	}
	return value, numberFits
}

// exponentOf reads the exponent of a JSON number, bounded: beyond the bound it settles the matter whatever the digits are, because no body is
// that long.
func exponentOf(text string) int {
	const bound = 1 << 30
	written, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil && text[0] == '-', written < -bound:
		return -bound
	case err != nil, written > bound:
		return bound
	}
	return int(written)
}

// rounded reads a JSON number as the nearest whole number of 10^-scale, half to even, and tells whether what was cut off is
// the noise that calculating with floats leaves: 0.1 + 0.2 is written 0.30000000000000004, and means 0.30.
//
// Noise has two signs. Floats are written with 15 to 17 digits (or more, when written out), and people do not write so many.
// And it is small: within a thousandth of a unit, which is far above what the errors of adding up many thousand prices come
// to, and far below what anybody can mean. The caller has found that the number is too fine, or negative.
func rounded(number string, scale int, limit int64) (value int64, noise bool, fault numberFault) {
	negative := number[0] == '-'
	digits, point := significant(strings.TrimPrefix(number, "-"))
	cut := point + scale // how many of the digits are before the cut
	switch {
	case cut >= len(digits):
		return 0, false, numberNegative // exact, and so the caller's other case
	case cut > 18:
		return 0, false, numberTooLarge
	case cut < -4:
		cut = -4 // still further below a thousandth: all the same
	}
	if cut < 0 {
		digits, cut = strings.Repeat("0", -cut)+digits, 0
	}
	kept, rest := digits[:cut], digits[cut:]
	if kept != "" {
		value, _ = strconv.ParseInt(kept, 10, 64) // at most 18 digits
	}
	noise = len(strings.TrimLeft(digits, "0")) >= 15 && (strings.HasPrefix(rest, "000") || strings.HasPrefix(rest, "999"))
	if rest > "5" || rest == "5" && value%2 == 1 { // as texts: its last digit is no zero
		value++
	}
	switch {
	case negative && (value != 0 || !noise):
		return 0, false, numberNegative
	case value > limit:
		return 0, false, numberTooLarge
	}
	return value, noise, numberFits
}

// significant returns the digits of a number without zeros at either end, and where its point stands: before the first of them
// at 0. No digits: it is zero.
func significant(number string) (digits string, point int) {
	mantissa := number
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
		point = exponentOf(number[i+1:])
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = whole + fraction
	point += len(whole)
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	return strings.TrimRight(trimmed, "0"), point
}

// jsonNumber tells whether a text is a number as JSON writes it.
func jsonNumber(text string) bool {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return false
	}
	r := strictjson.NewReader(text)
	raw, err := r.Number()
	return err == nil && raw == text && raw[len(raw)-1] <= '9' // not -Infinity
}

// pythonNumber writes what Python's float() reads, and pydantic with it, as JSON does: without white space around it, a plus,
// zeros in front and underscores between digits, with digits on both sides of the point. Anything else stays what it is.
func pythonNumber(text string) string {
	text = strings.TrimSpace(text)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign = "-"
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, sign), "+")
	if strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") || strings.Contains(text, "__") {
		return text
	}
	text = strings.ReplaceAll(text, "_", "")
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole == "" && fraction == "" {
		return text
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" || whole[0] < '0' || whole[0] > '9' {
		whole = "0" + whole
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction + exponent
}

// ReadInt reads a whole number as the example did where there is no JSON: in a path and in a query. What is beyond int64 is
// the number at its end.
func ReadInt(text string) (n int64, ok bool) {
	text = pythonNumber(text)
	whole, zeros, pointed := strings.Cut(text, ".")
	if pointed && strings.Trim(zeros, "0") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}
