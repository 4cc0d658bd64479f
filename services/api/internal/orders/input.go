package orders

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"orderflow.example/services/api/internal/strictjson"
)

// Input says how an order may be written. The zero value takes what can mean one thing only; what has to be guessed (a price
// that is no number of cents, a member that nobody knows, a boolean for a number) is refused by its name.
type Input struct {
	// Example takes what the FastAPI example took, as it took it, for the clients that were written for that. Prices are rounded
	// half-even to cents, and the answer says so.
	Example bool
}

// maxExampleName is how long a name may be with Example, in bytes: what the index over customers' names can hold.
const maxExampleName = 2600

// number takes a number: as such, or in a string, as programs write it that hold money in decimals. ok is false for what is
// neither; then it is refused.
func (d *decoder) number(parent, key string) (raw string, ok bool, err error) {
	switch kind := d.Kind(); {
	case kind == strictjson.Number:
		raw, err = d.Number()
		return raw, err == nil, err
	case kind == strictjson.NotFinite:
		if raw, err = d.Number(); err == nil {
			d.Add(parent+"."+key, "must be a finite number", raw)
		}
		return "", false, err
	case kind == strictjson.Bool && d.input.Example:
		raw, err = d.Skip()
		return map[string]string{"true": "1", "false": "0"}[raw], err == nil, err
	case kind != strictjson.String:
		return "", false, d.Refuse(parent+"."+key, "must be a number, not "+kind.String())
	}
	text, _, err := d.String()
	if err != nil {
		return "", false, err
	}
	raw = text
	if d.input.Example {
		raw = pythonNumber(text)
	}
	if !jsonNumber(raw) {
		quoted, _ := json.Marshal(text) // a string always has its JSON
		d.Add(parent+"."+key, "must be a number: the string is not one", string(quoted))
		return "", false, nil
	}
	return raw, true, nil
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
