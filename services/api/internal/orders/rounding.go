package orders

import (
	"strconv"
	"strings"
)

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
