package orders

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"orderflow.example/services/api/internal/strictjson"
)

// Input says how an order may be written. The zero value takes what can mean one thing only; what has to be guessed (a price
// that is no number of cents, a member that nobody knows, a boolean for a number) is refused by its name.
type Input struct {
	// Example takes what the FastAPI example took, as it took it, for the clients that were written for that. Prices are rounded
	// half-even to cents, and the answer says so.
	Example bool
}

// Limits of what an order may say.
const (
	MaxNameLength = 200 // characters
	MaxQuantity   = 1<<31 - 1
	MaxBatch      = 1000 // orders in one POST /orders/batch
)

// maxExampleName is how long a name may be with Example, in bytes: what the index over customers' names can hold.
const maxExampleName = 2600

// The members of an order, as bits, so that what was given twice or not at all is known without a map.
const (
	hasCustomer = 1 << iota
	hasProduct
	hasQuantity
	hasPrice
	hasAll = 1<<iota - 1
)

var members = [...]struct {
	bit  uint8
	name string
}{
	{hasCustomer, "customer_name"},
	{hasProduct, "product_name"},
	{hasQuantity, "quantity"},
	{hasPrice, "price"},
}

// Decode reads one order. The error is a [*strictjson.MalformedError] or a [*strictjson.InvalidError], and nothing else.
//
// A member given twice is refused: which of the two counts differs between parsers, and what one of them checked
// another would execute. So is a member that is not known: it is a spelling mistake, or a wish that would silently
// not come true. With Example the last counts, and what is not known is passed over.
//
// The notes say what was changed on the way, for the answer.
func (in Input) Decode(body []byte) (order Draft, notes []string, err error) {
	d := decoder{Decoder: strictjson.NewDecoder(string(body)), input: in}
	err = d.Finish(d.order(&order, "body"))
	return order, d.notes, err
}

// DecodeBatch reads {"orders": [...]} with 1 to MaxBatch orders. Notes and errors are as those of [Input.Decode].
func (in Input) DecodeBatch(body []byte) (batch []Draft, notes []string, err error) {
	d := decoder{Decoder: strictjson.NewDecoder(string(body)), input: in}
	given := false
	isObject, err := d.Object("body", func(key string) error {
		switch {
		case key != "orders":
			return d.Unknown("body", key)
		case given:
			return d.Refuse("body.orders", "is given twice")
		}
		given = true
		return d.batch(&batch)
	})
	if isObject && !given {
		d.Add("body.orders", "is required", "")
	}
	return batch, d.notes, d.Finish(err)
}

type decoder struct {
	strictjson.Decoder
	input Input
	notes []string
}

func (d *decoder) batch(batch *[]Draft) error {
	const location = "body.orders"
	n := 0
	isArray, err := d.Array(location, func(i int) error {
		n = i + 1
		if i >= MaxBatch {
			_, err := d.Skip()
			return err
		}
		var order Draft
		err := d.order(&order, location+"["+strconv.Itoa(i)+"]")
		*batch = append(*batch, order)
		return err
	})
	switch {
	case err != nil || !isArray:
	case n == 0:
		d.Add(location, "must hold at least 1 order", "[]")
	case n > MaxBatch:
		d.Add(location, "must hold at most "+strconv.Itoa(MaxBatch)+" orders", "")
	}
	return err
}

// order reads an order written at location.
func (d *decoder) order(order *Draft, location string) error {
	var seen uint8
	isObject, err := d.Object(location, func(key string) error {
		var bit uint8
		for _, m := range members {
			if m.name == key {
				bit = m.bit
				break
			}
		}
		switch {
		case bit == 0 && d.input.Example:
			_, err := d.Skip()
			return err
		case bit == 0:
			return d.Unknown(location, key)
		case seen&bit != 0 && d.input.Example:
			d.Forget(location + "." + key)
			d.notes = slices.DeleteFunc(d.notes, func(note string) bool { return strings.HasPrefix(note, location+"."+key+" ") })
		case seen&bit != 0:
			return d.Refuse(location+"."+key, "is given twice")
		}
		seen |= bit
		switch bit {
		case hasCustomer:
			return d.name(&order.CustomerName, location, key)
		case hasProduct:
			return d.name(&order.ProductName, location, key)
		case hasQuantity:
			return d.quantity(&order.Quantity, location)
		default:
			return d.price(&order.Price, location)
		}
	})
	if err != nil || !isObject || seen == hasAll {
		return err
	}
	for _, m := range members {
		if seen&m.bit == 0 {
			d.Add(location+"."+m.name, "is required", "")
		}
	}
	return nil
}

func (d *decoder) name(to *string, location, key string) error {
	most := MaxNameLength
	if d.input.Example {
		most = maxExampleName
	}
	return d.Text(to, location, key, most, func(s string) (wrong string) {
		switch {
		case d.input.Example && len(s) > maxExampleName:
			return "must have at most " + strconv.Itoa(maxExampleName) + " bytes"
		case !d.input.Example && !visible(s):
			return "must not be empty or blank"
		}
		return ""
	})
}

func (d *decoder) quantity(to *int32, location string) error {
	raw, ok, err := d.number(location, "quantity")
	if !ok {
		return err
	}
	value, fault := fixedPoint(raw, 0, MaxQuantity)
	wrong := ""
	switch {
	case fault == numberTooFine:
		wrong = "must be a whole number"
	case fault == numberTooLarge:
		wrong = "must be at most " + strconv.Itoa(MaxQuantity)
	case fault == numberNegative, value < 1:
		wrong = "must be at least 1"
	}
	if wrong != "" {
		d.Add(location+".quantity", wrong, raw)
	}
	*to = int32(value) //nolint:gosec // fixedPoint bounds it by MaxQuantity
	return nil
}

func (d *decoder) price(to *Cents, location string) error {
	raw, ok, err := d.number(location, "price")
	if !ok {
		return err
	}
	value, fault := fixedPoint(raw, 2, int64(MaxPrice))
	if fault == numberTooFine || fault == numberNegative {
		nearest, noise, other := rounded(raw, 2, int64(MaxPrice))
		switch {
		case other == numberTooLarge:
			fault = other
		case other == numberFits && (noise || d.input.Example):
			value, fault = nearest, numberFits
			if !noise {
				d.notes = append(d.notes, location+".price was rounded from "+shortened(raw)+" to "+Cents(value).String())
			}
		}
	}
	wrong := ""
	switch fault {
	case numberTooFine:
		wrong = "must have at most 2 decimals"
	case numberTooLarge:
		wrong = "must be at most " + MaxPrice.String()
	case numberNegative:
		wrong = "must not be negative"
	case numberFits:
	}
	if wrong != "" {
		d.Add(location+".price", wrong, raw)
	}
	*to = Cents(value)
	return nil
}

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

// shortened is a number as it was written, fit for an answer.
func shortened(raw string) string {
	const most = 40
	if len(raw) > most {
		return raw[:most] + "…"
	}
	return raw
}

// visible tells whether a person would see anything of a text: a character that is neither white space nor a control, nor
// one that has no shape of its own. Those are of several kinds to Unicode: format characters (zero-width spaces, joiners,
// direction marks, tags), what is ignorable by default (Hangul fillers, which are letters), variation selectors, combining
// marks with nothing to combine with, and a few symbols and letters that are blank. A character that is younger than this
// program's tables is taken to be seen: next year's emoji are names, too.
func visible(text string) bool {
	for _, r := range text {
		if !unicode.IsSpace(r) && !strings.ContainsRune(blank, r) && !unicode.In(r,
			unicode.Cc, unicode.Cf, unicode.Z, unicode.M, unicode.Other_Default_Ignorable_Code_Point) {
			return true
		}
	}
	return false
}

// blank are a Braille pattern without a dot, a note without a head, and two blanks between hieroglyphs.
const blank = "\u2800\U0001d159\U00013441\U00013442"
