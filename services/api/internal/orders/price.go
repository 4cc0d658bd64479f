package orders

import "strconv"

// Cents is money, exactly: hundredths of the currency's unit. It is never a float on its way from the request's
// digits to numeric(12,2) and back.
type Cents int64

// MaxPrice is the largest price that numeric(12,2) holds: 9999999999.99.
const MaxPrice Cents = 999_999_999_999

// AppendJSON writes the amount as a JSON number with two decimals.
func (c Cents) AppendJSON(dst []byte) []byte {
	if c < 0 {
		dst = append(dst, '-')
		c = -c
	}
	dst = strconv.AppendInt(dst, int64(c/100), 10)
	return append(dst, '.', byte('0'+c/10%10), byte('0'+c%10))
}

// MarshalJSON writes a JSON number with two decimals.
func (c Cents) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// String is the amount with two decimals.
func (c Cents) String() string { return string(c.AppendJSON(nil)) }

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
