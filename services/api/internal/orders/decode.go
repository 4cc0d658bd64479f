package orders

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"orderflow.example/services/api/internal/strictjson"
)

// Limits of what an order may say.
const (
	MaxNameLength = 200 // characters
	MaxQuantity   = 1<<31 - 1
	MaxBatch      = 1000 // orders in one POST /orders/batch
)

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

// Decode reads one order. The error is a [*MalformedError] or an [*InvalidError], and nothing else.
//
// A member given twice is refused: which of the two counts differs between parsers, and what one of them checked
// another would execute. So is a member that is not known: it is a spelling mistake, or a wish that would silently
// not come true.
func Decode(body []byte) (New, error) {
	d := decoder{Reader: strictjson.NewReader(string(body))}
	var order New
	err := d.order(&order, "body")
	if err == nil {
		err = d.End()
	}
	return order, d.verdict(err)
}

// DecodeBatch reads {"orders": [...]} with 1 to MaxBatch orders. Errors are as those of [Decode].
func DecodeBatch(body []byte) ([]New, error) {
	d := decoder{Reader: strictjson.NewReader(string(body))}
	var batch []New
	given := false
	isObject, err := d.object("body", func(key string) error {
		switch {
		case key != "orders":
			return d.unknown("body", key)
		case given:
			return d.refuse("body.orders", "is given twice")
		}
		given = true
		return d.batch(&batch)
	})
	if err == nil {
		err = d.End()
	}
	if isObject && !given {
		d.faults.add("body.orders", "is required", "")
	}
	return batch, d.verdict(err)
}

type decoder struct {
	strictjson.Reader
	faults InvalidError
	// Where the reading is, for a syntax error: the object, and the member of it whose value is being read.
	at, key string
}

func (d *decoder) verdict(err error) error {
	var syntax *strictjson.SyntaxError
	switch {
	case errors.As(err, &syntax):
		location := "body"
		if d.at != "" && d.key != "" {
			location = d.at + "." + shorten(d.key)
		}
		return &MalformedError{Fault{Location: location, Message: syntax.Error()}}
	case len(d.faults.Faults) > 0:
		return &d.faults
	}
	return nil
}

// refuse skips the next value and notes what is wrong with it.
func (d *decoder) refuse(location, message string) error {
	raw, err := d.Skip()
	if err != nil {
		return err
	}
	d.faults.add(location, message, raw)
	return nil
}

func (d *decoder) unknown(parent, key string) error {
	return d.refuse(parent+"."+shorten(key), "is not a known field")
}

// object walks over the members of an object; member must take each one's value. What is no object is skipped.
func (d *decoder) object(location string, member func(key string) error) (isObject bool, err error) {
	if kind := d.Kind(); kind != strictjson.Object {
		return false, d.refuse(location, "must be an object, not "+kind.String())
	}
	if err := d.Open('{'); err != nil {
		return true, err
	}
	for first := true; ; first = false {
		d.at, d.key = location, ""
		more, err := d.More('}', first)
		if err != nil || !more {
			return true, err
		}
		key, _, err := d.Key()
		if err != nil {
			return true, err
		}
		d.key = key
		if err := member(key); err != nil {
			return true, err
		}
	}
}

func (d *decoder) batch(batch *[]New) error {
	if kind := d.Kind(); kind != strictjson.Array {
		return d.refuse("body.orders", "must be an array, not "+kind.String())
	}
	if err := d.Open('['); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := d.More(']', i == 0)
		if err != nil {
			return err
		}
		if !more {
			if i == 0 {
				d.faults.add("body.orders", "must hold at least 1 order", "[]")
			}
			return nil
		}
		if i >= MaxBatch {
			if i == MaxBatch {
				d.faults.add("body.orders", "must hold at most "+strconv.Itoa(MaxBatch)+" orders", "")
			}
			if _, err := d.Skip(); err != nil {
				return err
			}
			continue
		}
		var order New
		if err := d.order(&order, "body.orders["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
		*batch = append(*batch, order)
	}
}

// order reads an order written at location.
func (d *decoder) order(order *New, location string) error {
	var seen uint8
	isObject, err := d.object(location, func(key string) error {
		var bit uint8
		for _, m := range members {
			if m.name == key {
				bit = m.bit
				break
			}
		}
		switch {
		case bit == 0:
			return d.unknown(location, key)
		case seen&bit != 0:
			return d.refuse(location+"."+key, "is given twice")
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
			d.faults.add(location+"."+m.name, "is required", "")
		}
	}
	return nil
}

func (d *decoder) name(to *string, location, key string) error {
	if kind := d.Kind(); kind != strictjson.String {
		return d.refuse(location+"."+key, "must be a string, not "+kind.String())
	}
	s, ok, err := d.String()
	if err != nil {
		return err
	}
	wrong := ""
	switch {
	case !ok:
		wrong = "must be Unicode: it has half of a surrogate pair"
	case strings.TrimSpace(s) == "":
		wrong = "must not be empty or blank"
	case strings.IndexByte(s, 0) >= 0:
		wrong = "must not have a NUL character"
	case len(s) > MaxNameLength && utf8.RuneCountInString(s) > MaxNameLength:
		wrong = "must have at most " + strconv.Itoa(MaxNameLength) + " characters"
	}
	if wrong != "" {
		d.faults.add(location+"."+key, wrong, string(appendString(nil, s)))
		return nil
	}
	*to = s
	return nil
}

func (d *decoder) quantity(to *int32, location string) error {
	if kind := d.Kind(); kind != strictjson.Number && kind != strictjson.NotFinite {
		return d.refuse(location+".quantity", "must be a number, not "+kind.String())
	}
	finite := d.Kind() == strictjson.Number
	raw, err := d.Number()
	if err != nil {
		return err
	}
	wrong := ""
	if !finite {
		wrong = "must be a finite number"
	} else {
		value, fault := fixedPoint(raw, 0, MaxQuantity)
		switch {
		case fault == numberTooFine:
			wrong = "must be a whole number"
		case fault == numberTooLarge:
			wrong = "must be at most " + strconv.Itoa(MaxQuantity)
		case fault == numberNegative, value < 1:
			wrong = "must be at least 1"
		}
		*to = int32(value) //nolint:gosec // fixedPoint bounds it by MaxQuantity
	}
	if wrong != "" {
		d.faults.add(location+".quantity", wrong, raw)
	}
	return nil
}

func (d *decoder) price(to *Cents, location string) error {
	if kind := d.Kind(); kind != strictjson.Number && kind != strictjson.NotFinite {
		return d.refuse(location+".price", "must be a number, not "+kind.String())
	}
	finite := d.Kind() == strictjson.Number
	raw, err := d.Number()
	if err != nil {
		return err
	}
	wrong := ""
	if !finite {
		wrong = "must be a finite number"
	} else {
		value, fault := fixedPoint(raw, 2, int64(MaxPrice))
		switch fault {
		case numberTooFine:
			wrong = "must have at most 2 decimals"
		case numberTooLarge:
			wrong = "must be at most " + MaxPrice.String()
		case numberNegative:
			wrong = "must not be negative"
		case numberFits:
		}
		*to = Cents(value)
	}
	if wrong != "" {
		d.faults.add(location+".price", wrong, raw)
	}
	return nil
}
