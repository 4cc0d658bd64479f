package strictjson

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decoder reads what is asked for from one JSON text, and notes everything that is wrong with it, each with its place.
//
// Its methods return an error only where the text stops being JSON; what is JSON and wrong is noted and skipped, and is part of what
// [Decoder.Finish] returns.
type Decoder struct {
	Reader
	faults InvalidError
	// Where the reading is, for a syntax error: the object, and the member of it whose value is being read.
	at, key string
}

// NewDecoder decodes text, which must not change while what was read from it is in use.
func NewDecoder(text string) Decoder { return Decoder{Reader: NewReader(text)} }

// Finish ends the reading of the text, of which nothing may be left, and returns what came of it: a [*MalformedError], an [*InvalidError] or
// nil. err is the last method's.
func (d *Decoder) Finish(err error) error {
	if err == nil {
		err = d.End()
	}
	var syntax *SyntaxError
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

// Add notes what is wrong with a value that was taken; raw is the value as it was written, empty when there is none.
func (d *Decoder) Add(location, message, raw string) { d.faults.add(location, message, raw) }

// Forget drops what has been noted about a value, for another one in its place.
func (d *Decoder) Forget(location string) {
	d.faults.Faults = slices.DeleteFunc(d.faults.Faults, func(f Fault) bool { return f.Location == location })
}

// Refuse skips the next value and notes what is wrong with it.
func (d *Decoder) Refuse(location, message string) error {
	raw, err := d.Skip()
	if err != nil {
		return err
	}
	d.faults.add(location, message, raw)
	return nil
}

// Unknown refuses the value of a member that was not asked for.
func (d *Decoder) Unknown(parent, key string) error {
	return d.Refuse(parent+"."+shorten(key), "is not a known field")
}

// Object walks over the members of an object; member must take each one's value. What is no object is refused.
func (d *Decoder) Object(location string, member func(key string) error) (isObject bool, err error) {
	if kind := d.Kind(); kind != Object {
		return false, d.Refuse(location, "must be an object, not "+kind.String())
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

// Array walks over the elements of an array; element must take each one. What is no array is refused.
func (d *Decoder) Array(location string, element func(i int) error) (isArray bool, err error) {
	if kind := d.Kind(); kind != Array {
		return false, d.Refuse(location, "must be an array, not "+kind.String())
	}
	if err := d.Open('['); err != nil {
		return true, err
	}
	for i := 0; ; i++ {
		more, err := d.More(']', i == 0)
		if err != nil || !more {
			return true, err
		}
		if err := element(i); err != nil {
			return true, err
		}
	}
}

// Bool takes true or false. What is neither is refused.
func (d *Decoder) Bool(to *bool, location string) error {
	if kind := d.Kind(); kind != Bool {
		return d.Refuse(location, "must be true or false, not "+kind.String())
	}
	raw, err := d.Skip()
	*to = raw == "true"
	return err
}

// Whole takes a whole number from least to most. Everything else is refused.
func (d *Decoder) Whole(to *int64, location string, least, most int64) error {
	if kind := d.Kind(); kind != Number {
		return d.Refuse(location, "must be a whole number, not "+kind.String())
	}
	raw, err := d.Number()
	if err != nil {
		return err
	}
	if value, err := strconv.ParseInt(raw, 10, 64); err == nil && value >= least && value <= most {
		*to = value
	} else {
		d.Add(location, "must be a whole number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10), raw)
	}
	return nil
}

// Text takes a member's string of at most most characters that PostgreSQL can hold, and of which also (unless it is nil) says
// nothing is wrong. Everything else is refused.
func (d *Decoder) Text(to *string, parent, key string, most int, also func(string) (wrong string)) error {
	if kind := d.Kind(); kind != String {
		return d.Refuse(parent+"."+key, "must be a string, not "+kind.String())
	}
	s, unicode, err := d.String()
	if err != nil {
		return err
	}
	wrong := ""
	if also != nil {
		wrong = also(s)
	}
	switch {
	case !unicode:
		wrong = "must be Unicode: it has half of a surrogate pair"
	case strings.IndexByte(s, 0) >= 0:
		wrong = "must not have a NUL character"
	case len(s) > most && utf8.RuneCountInString(s) > most:
		wrong = "must have at most " + strconv.Itoa(most) + " characters"
	}
	if wrong != "" {
		quoted, _ := json.Marshal(s) // a string always has its JSON
		d.Add(parent+"."+key, wrong, string(quoted))
		return nil
	}
	*to = s
	return nil
}
