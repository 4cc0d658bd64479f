// Package env owns how settings come out of the environment: into one struct, read once at the start, whose tags say everything
// about them. The tags are
//
//	envconfig   the variable's name
//	default     its value when it is not set, or set to nothing (compose files and charts do that)
//	desc        what it means, for [Table]
//	allowed     what an error says that it must be; without it, what values of the field's type look like
//	secret      "true": never shown; "url": an address whose password and tokens are not shown
//	ignored     "true": no setting, but something computed from them
//
// A struct that is embedded has settings that several programs share; they are read as if they stood in its place.
//
// A type with a Decode(string) error method reads itself, as envconfig has it; its error says why a value is wrong. It may have a method
// Allowed() string instead of the tag. An error with a method Sentence() string says instead that something else is wrong, which the
// value names.
//
// The package must never show a secret, read a variable twice, or stop at the first mistake: a start with three wrong values
// names all three.
package env

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Lookup finds a variable, as [os.LookupEnv] does.
type Lookup = func(name string) (value string, set bool)

// Read fills the struct that target points to and returns what is wrong so far. The caller adds its own checks to that and then
// asks for [Problems.Err].
func Read(lookup Lookup, target any) *Problems {
	p := &Problems{fields: make(map[string]reflect.StructField), given: make(map[string]string), wrong: make(map[string]bool), files: make(map[string]string)}
	for field, value := range fields(target) {
		name := field.Tag.Get("envconfig")
		p.fields[name] = field
		text, ok := p.find(lookup, field)
		if !ok {
			continue
		}
		p.given[name] = text
		if err := decode(field, text, value); err != nil {
			if sentence := elsewhere(err); sentence != "" {
				p.say(name, sentence)
				continue
			}
			p.refuse(name, expected(field), reason(field.Type, text, err))
		}
	}
	return p
}

// find is a setting's text: the variable's, that of the file that it names, or the default. ok is false when it is wrong already.
func (p *Problems) find(lookup Lookup, field reflect.StructField) (text string, ok bool) {
	name := field.Tag.Get("envconfig")
	text, _ = lookup(name)
	if secret := field.Tag.Get("secret"); secret != "" {
		if text, ok = p.findSecret(lookup, name, text, secret); !ok {
			return "", false
		}
	}
	if text == "" {
		text = field.Tag.Get("default")
	}
	return text, true
}

// decode lets envconfig read one field at a time: as a whole it would stop at the first value that it cannot read. What was looked
// up takes the default's place, and the name becomes one that no environment can hold, because envconfig itself knows only the
// process's environment, which tests that run at the same time cannot share.
func decode(field reflect.StructField, text string, target reflect.Value) error {
	field.Tag = reflect.StructTag(fmt.Sprintf(`envconfig:"%s=" default:%s`, field.Tag.Get("envconfig"), strconv.Quote(text)))
	one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
	if err := envconfig.Process("", one.Interface()); err != nil {
		return err
	}
	target.Set(one.Elem().Field(0))
	return nil
}

// Default fills the struct that target points to with what it holds when nothing is set.
func Default(target any) {
	if err := Read(func(string) (string, bool) { return "", false }, target).Err(); err != nil {
		panic(err) // a default in the program's own tags cannot be read
	}
}

// fields are the settings of the struct that target points to, in the order in which they are documented.
func fields(target any) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		walk(reflect.ValueOf(target).Elem(), yield)
	}
}

// walk yields a struct's settings, those of embedded ones in their place. It says false when it was told to stop.
func walk(value reflect.Value, yield func(reflect.StructField, reflect.Value) bool) bool {
	for i := range value.NumField() {
		field := value.Type().Field(i)
		switch {
		case field.Tag.Get("ignored") == "true":
		case field.Anonymous && field.Type.Kind() == reflect.Struct:
			if !walk(value.Field(i), yield) {
				return false
			}
		case !yield(field, value.Field(i)):
			return false
		}
	}
	return true
}

// expected says in words what a field's values look like.
func expected(field reflect.StructField) string {
	if allowed := field.Tag.Get("allowed"); allowed != "" {
		return allowed
	}
	if a, ok := reflect.New(field.Type).Interface().(interface{ Allowed() string }); ok {
		return a.Allowed()
	}
	switch field.Type {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 900ms, 10s or 2m"
	case reflect.TypeFor[Size]():
		return "a size such as 65536, 512KiB or 2MiB"
	}
	switch field.Type.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "another text"
	}
}

// elsewhere is what the error of a type that reads itself says by a method Sentence: the value is as it must be, and what it names, a
// file say, is not.
func elsewhere(err error) string {
	if parse := (*envconfig.ParseError)(nil); errors.As(err, &parse) {
		err = parse.Err // it does not unwrap
	}
	var e interface{ Sentence() string }
	if errors.As(err, &e) {
		return e.Sentence()
	}
	return ""
}

// reason is why a text could not be read, where that is more than what is allowed says.
func reason(t reflect.Type, text string, err error) string {
	if t == reflect.TypeFor[time.Duration]() {
		if _, number := strconv.ParseFloat(text, 64); number == nil {
			return text + " what? The unit is missing"
		}
		return ""
	}
	if parse := (*envconfig.ParseError)(nil); errors.As(err, &parse) {
		err = parse.Err // envconfig's own words repeat the name and the value
	}
	if t == reflect.TypeFor[Size]() || strings.HasPrefix(err.Error(), "strconv.") {
		return ""
	}
	return err.Error()
}
