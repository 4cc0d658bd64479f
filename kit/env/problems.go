package env

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
)

// ErrConfiguration is what the error of a wrong setting wraps.
var ErrConfiguration = errors.New("wrong configuration")

// Problems are what is wrong with the settings, one sentence for each variable: it is named once, whatever else is wrong with it.
type Problems struct {
	sentences []string
	fields    map[string]reflect.StructField
	given     map[string]string // what was read for each variable
	wrong     map[string]bool
	files     map[string]string // of secrets
}

// Add says that a variable is not what it must be: "from 1 to 10", say. The value is added, masked when it is secret.
func (p *Problems) Add(name, must string) { p.refuse(name, must, "") }

// Refuse says that a variable is not what its tag `allowed` says, and why if there is something to add to that.
func (p *Problems) Refuse(name, why string) { p.refuse(name, expected(p.fields[name]), why) }

// Named reports whether a variable has been complained about: then the field does not hold what the user meant.
func (p *Problems) Named(name string) bool { return p.wrong[name] }

// File is that from which a secret was read; empty when it was not in one.
func (p *Problems) File(name string) string { return p.files[name] }

// Err is nil when nothing is wrong, and otherwise one line with every problem.
func (p *Problems) Err() error {
	if len(p.sentences) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConfiguration, strings.Join(p.sentences, "; "))
}

// say adds a sentence of its own.
func (p *Problems) say(name, sentence string) {
	if !p.wrong[name] {
		p.wrong[name] = true
		p.sentences = append(p.sentences, name+": "+sentence)
	}
}

func (p *Problems) refuse(name, must, why string) {
	value := p.given[name]
	switch p.fields[name].Tag.Get("secret") {
	case "":
	case "url":
		value = MaskURL(value)
	default:
		if value == "" {
			break
		}
		if strings.Contains(why, value) {
			why = ""
		}
		value = mask
	}
	p.add(name, value, must, why)
}

func (p *Problems) add(name, value, must, why string) {
	if p.wrong[name] {
		return
	}
	p.wrong[name] = true
	sentence := fmt.Sprintf("%s=%q: must be %s", name, shorten(value), must)
	if why != "" {
		sentence += " (" + strings.Join(strings.Fields(why), " ") + ")"
	}
	p.sentences = append(p.sentences, sentence)
}

// shorten keeps an error on a screen.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Between checks that a variable's value is from least to most.
func Between[T cmp.Ordered](p *Problems, name string, value, least, most T) {
	if cmp.Less(value, least) || cmp.Less(most, value) { // a NaN is less than any number
		p.Add(name, fmt.Sprintf("from %v to %v", least, most))
	}
}

// OneOf checks that a variable's value is one of a few words.
func OneOf(p *Problems, name, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		p.Add(name, strings.Join(allowed[:last], ", ")+" or "+allowed[last])
	}
}

// Host checks that a variable's value can be listened on; an empty one is every address of the machine.
func Host(p *Problems, name, value string) {
	if net.ParseIP(value) == nil && strings.ContainsAny(value, ":/ ") {
		p.Add(name, "a host name or an IP address")
	}
}
